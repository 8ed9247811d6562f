#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <exception>
#include <fstream>
#include <span>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/numa.h"

namespace hunch {
namespace {

// About 20-50 us: longer than the gap between two operators of a token, shorter than anyone notices.
// Spinning threads would steal the core from each other when there are more threads than cores.
constexpr int kSpins = 4000;

// A worker's turn: shorter than the slices that a scheduler gives (3 ms and more), so that it goes of its own accord,
// and so long that asking costs nothing.
constexpr std::chrono::microseconds kTurn{1000};
// Waiting for pieces that others have begun is normal for as long as the caller's own took. This much more, and twice
// that, is not: another program has the worker's core.
constexpr std::chrono::microseconds kHeldUp{300};
// Once may be chance (a page that had to be read, a host that gave the core to another guest); twice in so short a time
// means that somebody else is at work here.
constexpr std::chrono::milliseconds kOften{20};
// How long a worker that held up the others rests: longer and longer while it goes on so.
constexpr std::chrono::milliseconds kShortestRest{4}, kLongestRest{256};

constexpr size_t kMostThreads = 1024;

inline void cpu_relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// CPUs granted by the cgroup (v2 cpu.max), or 0 when there is no limit.
size_t cgroup_cpus() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  return std::max<size_t>(1, size_t(std::stod(quota) / period + 0.5));
}

// `cpus`: those that the process may use. Asked by a thread that is bound already, the system would name one.
void pin_to(std::span<const int> cpus, size_t thread) {
  if (!cpus.empty()) stay_on(cpus.subspan(thread % cpus.size(), 1));
}

}  // namespace

size_t default_n_threads() {
  const std::vector<int> cpus = allowed_cpus();
  size_t n = cpus.empty() ? std::thread::hardware_concurrency() : n_cores(cpus);
  if (const size_t limit = cgroup_cpus()) n = std::min(n, limit);
  return std::max<size_t>(1, n);
}

ThreadPool::ThreadPool(size_t n_threads, bool pin)
    : n_threads_(std::max<size_t>(1, n_threads)), workers_(n_threads_), claims_(n_threads_) {
  if (n_threads > kMostThreads)  // before the system refuses one of them
    fail(ErrorKind::kUsage, "{} threads (n_threads) were asked for, expected at most {}", n_threads, kMostThreads);
  const std::vector<int> cpus = pin ? allowed_cpus() : std::vector<int>();
  for (size_t thread = 1; thread < n_threads_; ++thread)
    threads_.emplace_back([this, thread, cpus] {
      pin_to(cpus, thread);
      worker(thread);
    });
  pin_to(cpus, 0);  // last: a thread inherits what its maker is bound to
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(rest_mutex_);
    stop_.store(true, std::memory_order_relaxed);
  }
  rest_is_over_.notify_all();
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& t : threads_) t.join();
}

void ThreadPool::call(size_t part, size_t piece) {
  try {
    call_(task_, part, piece);
  } catch (...) {
    const std::lock_guard lock(error_mutex_);
    if (!error_) error_ = std::current_exception();
  }
}

// The next piece of the part in this loop. A worker may come here with a loop in mind that is over: then shape_ or the
// word have a later number, or all pieces are taken. A piece that can be taken means that its loop is not over, and
// will not be before the piece is done.
bool ThreadPool::claim(uint32_t epoch, size_t part, size_t* piece) {
  std::atomic<uint64_t>& word = claims_[part].word;
  const uint64_t shape = shape_.load(std::memory_order_relaxed);
  if (uint32_t(shape >> 32) != epoch) return false;
  uint64_t seen = word.load(std::memory_order_relaxed);
  for (;;) {
    const auto of = uint32_t(seen >> 32);
    if (int32_t(of - epoch) > 0) return false;
    const uint32_t next = of == epoch ? uint32_t(seen) : 0;
    if (next >= uint32_t(shape)) return false;
    if (word.compare_exchange_weak(seen, uint64_t(epoch) << 32 | (next + 1), std::memory_order_relaxed)) {
      *piece = next;
      return true;
    }
  }
}

// First what is the thread's own, then what others have left. The caller counts what he did himself: n_left_ is the
// workers'.
uint32_t ThreadPool::take_pieces(uint32_t epoch, size_t thread) {
  uint32_t n_done = 0;
  size_t piece = 0;
  for (size_t i = 0; i < n_threads_; ++i)
    for (const size_t part = (thread + i) % n_threads_; claim(epoch, part, &piece); ++n_done) call(part, piece);
  if (thread != 0 && n_done) {
    n_left_.fetch_sub(n_done, std::memory_order_acq_rel);
    n_left_.notify_one();
  }
  return n_done;
}

// Sleeps where it is to rest. True: it did.
bool ThreadPool::rests(Worker& worker) {
  const Clock::rep until = worker.rests_until.load(std::memory_order_relaxed);
  if (until == 0) return false;
  const auto left = Clock::time_point(Clock::duration(until)) - Clock::now();
  std::unique_lock lock(rest_mutex_);
  // (By the system's clock: clang's thread sanitizer does not know waits by the steady one.)
  const auto end = std::chrono::system_clock::now() + left;
  rest_is_over_.wait_until(lock, std::chrono::time_point_cast<std::chrono::system_clock::duration>(end),
                           [&] { return stop_.load(std::memory_order_relaxed); });
  worker.rests_until.store(0, std::memory_order_relaxed);
  return true;
}

// Where nobody else wants it, this is one short call.
void ThreadPool::offer_core(Worker& worker) {
  if (Clock::now() - worker.turn_began < kTurn) return;
  sched_yield();
  worker.turn_began = Clock::now();
}

void ThreadPool::worker(size_t thread) {
  Worker& me = workers_[thread];
  uint32_t seen = 0;
  for (;;) {
    uint32_t epoch;
    int spins = 0;
    while ((epoch = epoch_.load(std::memory_order_acquire)) == seen) {
      if (++spins < kSpins) {
        cpu_relax();
      } else {
        epoch_.wait(seen, std::memory_order_acquire);
        me.turn_began = Clock::now();
      }
    }
    seen = epoch;
    if (stop_.load(std::memory_order_relaxed)) return;
    if (rests(me)) continue;  // the loop went on without
    me.at_work.store(true, std::memory_order_relaxed);
    take_pieces(epoch, thread);
    me.at_work.store(false, std::memory_order_relaxed);
    offer_core(me);
  }
}

// The caller began at `began`, and has done `n_own` pieces and nothing more to do.
void ThreadPool::wait_for_others(uint32_t n_own, Clock::time_point began) {
  if (n_left_.load(std::memory_order_acquire) == n_own) return;
  const Clock::time_point done = Clock::now();
  int spins = 0;
  uint32_t left;
  while ((left = n_left_.load(std::memory_order_acquire)) != n_own) {
    if (++spins < kSpins) {
      cpu_relax();
      continue;
    }
    if (spins == kSpins)
      for (Worker& w : workers_) w.suspected = w.at_work.load(std::memory_order_relaxed);
    n_left_.wait(left, std::memory_order_acquire);
  }
  if (spins < kSpins || Clock::now() - done < kHeldUp + 2 * (done - began)) return;
  for (Worker& w : workers_)
    if (w.suspected) send_to_rest(w);
}

// Where it has held up the others before.
void ThreadPool::send_to_rest(Worker& worker) {
  const Clock::time_point now = Clock::now(), before = std::exchange(worker.held_up, now);
  if (now - before > kOften) return;
  const bool again = now - worker.rested < 4 * worker.rest;
  worker.rest = again ? std::min<Clock::duration>(2 * worker.rest, kLongestRest) : Clock::duration(kShortestRest);
  worker.rested = now + worker.rest;
  worker.rests_until.store(worker.rested.time_since_epoch().count(), std::memory_order_relaxed);
  ++n_rests_;
}

void ThreadPool::run_erased(Erased call, size_t n_pieces, void* task) {
  call_ = call;
  task_ = task;
  if (n_threads_ == 1) {
    this->call(0, 0);
  } else {
    const uint32_t epoch = epoch_.load(std::memory_order_relaxed) + 1;
    shape_.store(uint64_t(epoch) << 32 | n_pieces, std::memory_order_relaxed);
    n_left_.store(uint32_t(n_threads_ * n_pieces), std::memory_order_relaxed);
    epoch_.store(epoch, std::memory_order_release);
    epoch_.notify_all();
    const Clock::time_point began = Clock::now();
    wait_for_others(take_pieces(epoch, 0), began);
  }
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

}  // namespace hunch
