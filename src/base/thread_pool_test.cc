#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>

namespace hunch {
namespace {

TEST(ThreadPool, ParallelForVisitsEveryIndexOnce) {
  for (size_t n_threads : {1, 2, 3, 8}) {
    ThreadPool pool(n_threads);
    for (size_t n : {0, 1, 2, 7, 64, 1000}) {
      for (size_t grain : {1, 16}) {
        std::vector<int> hits(n, 0), piece_hits(n, 0), dynamic_hits(n, 0);
        pool.parallel_for(n, grain, [&](size_t begin, size_t end) {
          for (size_t i = begin; i < end; ++i) ++piece_hits[i];
        });
        pool.parallel_for(n, grain, [&](size_t begin, size_t end, size_t) {
          for (size_t i = begin; i < end; ++i) ++hits[i];
        });
        pool.parallel_for_dynamic(n, grain, [&](size_t begin, size_t end, size_t) {
          for (size_t i = begin; i < end; ++i) ++dynamic_hits[i];
        });
        EXPECT_EQ(hits, std::vector<int>(n, 1));
        EXPECT_EQ(piece_hits, std::vector<int>(n, 1));
        EXPECT_EQ(dynamic_hits, std::vector<int>(n, 1));
      }
    }
  }
}

TEST(ThreadPool, ManyShortLoopsInARow) {
  ThreadPool pool(4);
  std::vector<uint64_t> sums(4, 0);
  for (int i = 0; i < 20000; ++i) pool.run([&](size_t thread) { sums[thread] += thread + 1; });
  EXPECT_EQ(sums, (std::vector<uint64_t>{20000, 40000, 60000, 80000}));
}

// Pieces of different numbers by turns: a late worker must not take a number for that of another loop.
TEST(ThreadPool, LoopsOfDifferentLengthsByTurns) {
  ThreadPool pool(3);
  std::vector<std::atomic<uint32_t>> hits(1500);
  for (uint32_t i = 0; i < 6000; ++i) {
    const size_t n = i % 3 == 0 ? 1500 : i % 3 == 1 ? 40 : 700;
    std::atomic<size_t> sum{0};
    pool.parallel_for(n, 1, [&](size_t begin, size_t end) {
      for (size_t j = begin; j < end; ++j) hits[j].fetch_add(1, std::memory_order_relaxed);
      sum += end - begin;
    });
    ASSERT_EQ(sum, n);
  }
  EXPECT_EQ(hits[0], 6000u);
  EXPECT_EQ(hits[699], 4000u);
  EXPECT_EQ(hits[1499], 2000u);
}

// One thread hangs in the first piece that it takes until all others are done: the rest of its part goes to the other.
TEST(ThreadPool, AThreadThatIsHeldUpHoldsUpOnePiece) {
  ThreadPool pool(2);
  constexpr size_t kItems = 1024;
  for (const bool caller : {false, true}) {
    std::atomic<size_t> n_done{0}, n_held{0};
    const auto main_thread = std::this_thread::get_id();
    pool.parallel_for(kItems, 1, [&](size_t begin, size_t end) {
      if ((std::this_thread::get_id() == main_thread) == caller && n_held.exchange(end - begin) == 0)
        while (n_done + (end - begin) < kItems) std::this_thread::yield();
      n_done += end - begin;
    });
    EXPECT_EQ(n_done, kItems);
  }
}

// Nor does a loop wait for threads that took nothing: many that sleep do not all wake up before the others are done.
TEST(ThreadPool, ThreadsThatDoNotComeAreNotWaitedFor) {
  constexpr size_t kThreads = 32;
  ThreadPool pool(kThreads);
  size_t fewest = kThreads;
  for (int i = 0; i < 50 && fewest == kThreads; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // until all sleep
    std::vector<std::thread::id> by(kThreads);
    pool.run([&](size_t part) { by[part] = std::this_thread::get_id(); });
    ASSERT_EQ(std::ranges::count(by, std::thread::id()), 0);
    fewest = std::min(fewest, std::set<std::thread::id>(by.begin(), by.end()).size());
  }
  EXPECT_LT(fewest, kThreads);
}

TEST(ThreadPool, RethrowsAnExceptionAndStaysUsable) {
  ThreadPool pool(2);
  EXPECT_THROW(pool.run([](size_t thread) {
    if (thread == 1) throw std::runtime_error("boom");
  }),
               std::runtime_error);
  std::atomic<int> n{0};
  pool.run([&](size_t) { ++n; });
  EXPECT_EQ(n, 2);
}

// As if another program had its core, time and again: it is left out, and comes back when that is over.
TEST(ThreadPool, AWorkerThatHoldsUpTheOthersRests) {
  using Clock = std::chrono::steady_clock;
  ThreadPool pool(2);
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> is_busy{true};
  std::atomic<size_t> n_taken{0}, n_done{0};
  size_t n_loops = 0;
  const auto run_for = [&](std::chrono::milliseconds time, const auto& enough) {
    for (const auto begin = Clock::now(); Clock::now() - begin < time && !enough(); ++n_loops) {
      const size_t n_before = n_taken;
      pool.run([&](size_t part) {
        ++n_done;
        if (std::this_thread::get_id() == caller) {  // leaves the other part to the worker for a while
          const auto end = Clock::now() + std::chrono::milliseconds(1);
          while (part == 0 && n_taken == n_before && Clock::now() < end) std::this_thread::yield();
          return;
        }
        ++n_taken;
        if (is_busy) std::this_thread::sleep_for(std::chrono::milliseconds(4));
      });
    }
  };
  run_for(std::chrono::seconds(20), [&] { return pool.n_rests() >= 4; });
  EXPECT_GE(pool.n_rests(), 4u);  // of 4, 8, 16 and 32 ms
  n_taken = 0;
  run_for(std::chrono::milliseconds(100), [] { return false; });
  EXPECT_LT(n_taken, 15u);  // 25 without rests
  is_busy = false;
  n_taken = 0;
  run_for(std::chrono::seconds(20), [&] { return n_taken > 100; });
  EXPECT_GT(n_taken, 100u);
  EXPECT_EQ(n_done, 2 * n_loops);
}

// The end of the pool does not wait for the end of a rest.
TEST(ThreadPool, EndsWhileAWorkerRests) {
  for (int i = 0; i < 10; ++i) {
    ThreadPool pool(2);
    const auto caller = std::this_thread::get_id();
    std::atomic<bool> taken{false};
    for (int loop = 0; loop < 100 && pool.n_rests() == 0; ++loop, taken = false)
      pool.run([&](size_t part) {
        if (std::this_thread::get_id() == caller) {
          for (int spins = 0; part == 0 && !taken && spins < 1000; ++spins) std::this_thread::yield();
        } else {
          taken = true;
          std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
      });
  }
}

// Beside each other, and not all on the core of the thread that made them.
TEST(ThreadPool, PinnedThreadsLieOnCoresOfTheirOwn) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  const size_t n_threads = std::min<size_t>(4, size_t(CPU_COUNT(&before)));
  if (n_threads < 2) GTEST_SKIP() << "one core";
  {
    ThreadPool pool(n_threads, true);
    std::vector<cpu_set_t> bound(n_threads);
    std::atomic<size_t> n_here{0};  // all at the same time: else one of them takes the parts of others
    pool.run([&](size_t part) {
      sched_getaffinity(0, sizeof bound[part], &bound[part]);
      for (++n_here; n_here < n_threads;) std::this_thread::yield();
    });
    cpu_set_t all;
    CPU_ZERO(&all);
    for (const cpu_set_t& one : bound) {
      EXPECT_EQ(CPU_COUNT(&one), 1);
      CPU_OR(&all, &all, &one);
    }
    EXPECT_EQ(size_t(CPU_COUNT(&all)), n_threads);
  }
  sched_setaffinity(0, sizeof before, &before);
}

}  // namespace
}  // namespace hunch
