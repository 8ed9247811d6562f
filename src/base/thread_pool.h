// A persistent pool for fork-join loops. The caller works too; workers spin briefly for the next
// loop and then sleep. One loop at a time: parallel_for may not be called from inside a task.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace hunch {

// Number of threads worth using: the physical cores that this process may run on (cgroup and
// affinity limits honoured). At least 1.
size_t default_n_threads();

class ThreadPool {
 public:
  // Starts n_threads - 1 workers. With `pin`, thread i is bound to the i-th allowed core.
  explicit ThreadPool(size_t n_threads, bool pin = false);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  size_t n_threads() const { return n_threads_; }

  // Runs task(thread) once for every thread in [0, n_threads) and returns when all are done.
  // `thread` is stable: the same OS thread serves the same index in every loop, so memory first
  // touched by it stays on its NUMA node. An exception in a task is rethrown here.
  template <class Task>
  void run(Task&& task) {
    run_erased([](void* t, size_t thread) { (*static_cast<std::remove_reference_t<Task>*>(t))(thread); },
               const_cast<void*>(static_cast<const void*>(&task)));
  }

  // Splits [0, n) into one contiguous range per thread, boundaries at multiples of `grain`, and runs
  // task(begin, end, thread) on each non-empty range. Static: thread i always gets the i-th part.
  template <class Task>
  void parallel_for(size_t n, size_t grain, Task&& task) {
    if (n == 0) return;
    const size_t n_grains = (n + grain - 1) / grain;
    if (n_threads_ == 1 || n_grains == 1) return task(size_t{0}, n, size_t{0});
    run([&](size_t thread) {
      const size_t begin = n_grains * thread / n_threads_ * grain;
      size_t end = n_grains * (thread + 1) / n_threads_ * grain;
      if (end > n) end = n;
      if (begin < end) task(begin, end, thread);
    });
  }

  // Hands out chunks of `chunk` indices from a shared counter: for loops whose parts cost unequally.
  template <class Task>
  void parallel_for_dynamic(size_t n, size_t chunk, Task&& task) {
    if (n == 0) return;
    if (n_threads_ == 1 || n <= chunk) return task(size_t{0}, n, size_t{0});
    std::atomic<size_t> next{0};
    run([&](size_t thread) {
      for (;;) {
        const size_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
        if (begin >= n) return;
        task(begin, begin + chunk < n ? begin + chunk : n, thread);
      }
    });
  }

 private:
  using Erased = void (*)(void* task, size_t thread);
  void run_erased(Erased call, void* task);
  void worker(size_t thread);
  void work(size_t thread);

  size_t n_threads_;
  std::vector<std::thread> workers_;
  Erased call_ = nullptr;
  void* task_ = nullptr;
  alignas(64) std::atomic<uint32_t> epoch_{0};      // bumped once per loop; workers wait on it
  alignas(64) std::atomic<uint32_t> n_running_{0};  // workers that have not finished this loop
  std::atomic<bool> stop_{false};
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

}  // namespace hunch
