// A persistent pool for fork-join loops. The caller works too; workers spin briefly for the next
// loop and then sleep. One loop at a time: parallel_for may not be called from inside a task.
//
// On a busy machine a worker may be asleep, or another program may have its core. A loop waits for no thread, only for
// the parts that were begun: who is done with his own takes what others have not begun. A worker offers its core to
// others between loops, when it holds up nobody, before the system takes it from him in the middle of a part; and one
// that held up the others for long all the same rests for a while, so that they are as fast as without him.
#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
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
  // How often a worker was sent to rest.
  size_t n_rests() const { return n_rests_; }

  // Runs task(part) once for every part in [0, n_threads) and returns when all are done. Part i is thread i's, where
  // that comes in time, so that memory first touched by it stays on its NUMA node; another takes it otherwise. An
  // exception in a task is rethrown here.
  template <class Task>
  void run(Task&& task) {
    run_erased([](void* t, size_t part, size_t) { (*static_cast<std::remove_reference_t<Task>*>(t))(part); }, 1,
               const_cast<void*>(static_cast<const void*>(&task)));
  }

  // Splits [0, n) into one contiguous part per thread, boundaries at multiples of `grain`. task(begin, end) is called
  // for pieces of these parts, each for itself: a thread that is held up holds up one piece. task(begin, end, part) is
  // called once for each part that is not empty: for sums, whose order must not depend on who was first.
  template <class Task>
  void parallel_for(size_t n, size_t grain, Task&& task) {
    if (n == 0) return;
    constexpr bool in_pieces = std::is_invocable_v<Task&, size_t, size_t>;
    const size_t n_grains = (n + grain - 1) / grain;
    if (n_threads_ == 1 || n_grains == 1) {
      if constexpr (in_pieces) {
        return task(size_t{0}, n);
      } else {
        return task(size_t{0}, n, size_t{0});
      }
    }
    const size_t n_pieces = in_pieces ? std::clamp<size_t>(n_grains / n_threads_ / kPieceGrains, 1, kMostPieces) : 1;
    const size_t n_all = n_threads_ * n_pieces;
    auto piece = [&](size_t part, size_t i) {
      const size_t at = part * n_pieces + i;
      const size_t begin = n_grains * at / n_all * grain, end = std::min(n, n_grains * (at + 1) / n_all * grain);
      if (begin >= end) return;
      if constexpr (in_pieces) {
        task(begin, end);
      } else {
        task(begin, end, part);
      }
    };
    run_erased([](void* t, size_t part, size_t i) { (*static_cast<decltype(piece)*>(t))(part, i); }, n_pieces, &piece);
  }

  // Hands out chunks of `chunk` indices from a shared counter: for loops whose parts cost unequally.
  template <class Task>
  void parallel_for_dynamic(size_t n, size_t chunk, Task&& task) {
    if (n == 0) return;
    if (n_threads_ == 1 || n <= chunk) return task(size_t{0}, n, size_t{0});
    std::atomic<size_t> next{0};
    run([&](size_t part) {
      for (;;) {
        const size_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
        if (begin >= n) return;
        task(begin, begin + chunk < n ? begin + chunk : n, part);
      }
    });
  }

 private:
  // Pieces of less would cost more than they could save.
  static constexpr size_t kPieceGrains = 16, kMostPieces = 8;

  using Clock = std::chrono::steady_clock;
  using Erased = void (*)(void* task, size_t part, size_t piece);

  struct alignas(64) Worker {
    std::atomic<bool> at_work{false};        // it may have pieces in hand
    std::atomic<Clock::rep> rests_until{0};  // of Clock; it takes no pieces before
    Clock::time_point turn_began{};          // its own: since when it has not offered its core
    // The caller's: whether it has pieces that are waited for, when it last held up the others, how long it rested the
    // last time, and until when.
    bool suspected = false;
    Clock::time_point held_up{};
    Clock::duration rest{};
    Clock::time_point rested{};
  };
  void run_erased(Erased call, size_t n_pieces, void* task);
  void worker(size_t thread);
  bool rests(Worker& worker);
  void offer_core(Worker& worker);
  void wait_for_others(uint32_t n_own, Clock::time_point began);
  void send_to_rest(Worker& worker);
  uint32_t take_pieces(uint32_t epoch, size_t thread);
  bool claim(uint32_t epoch, size_t part, size_t* piece);
  void call(size_t part, size_t piece);

  // The loop that last took a piece of this part (upper half), and how many were taken. A worker that comes late, with
  // an older loop in mind, finds nothing of that left.
  struct alignas(64) Claims {
    std::atomic<uint64_t> word{0};
  };

  size_t n_threads_;
  std::vector<std::thread> threads_;
  std::vector<Worker> workers_;  // [n_threads]; that of the caller is not used
  std::vector<Claims> claims_;   // [n_threads]
  // The present loop's. Read only with a claim in hand: until its piece is done, they stay.
  Erased call_ = nullptr;
  void* task_ = nullptr;
  std::atomic<uint64_t> shape_{0};               // the loop's number (upper half), and pieces of each part
  alignas(64) std::atomic<uint32_t> epoch_{0};   // bumped once per loop; workers wait on it
  alignas(64) std::atomic<uint32_t> n_left_{0};  // pieces that no worker has done
  std::atomic<bool> stop_{false};
  std::mutex rest_mutex_;
  std::condition_variable rest_is_over_;  // or the pool is
  std::atomic<size_t> n_rests_{0};
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

}  // namespace hunch
