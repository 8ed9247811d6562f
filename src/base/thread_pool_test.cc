#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace hunch {
namespace {

TEST(ThreadPool, ParallelForVisitsEveryIndexOnce) {
  for (size_t n_threads : {1, 2, 3, 8}) {
    ThreadPool pool(n_threads);
    for (size_t n : {0, 1, 2, 7, 64, 1000}) {
      for (size_t grain : {1, 16}) {
        std::vector<int> hits(n, 0), dynamic_hits(n, 0);
        pool.parallel_for(n, grain, [&](size_t begin, size_t end, size_t) {
          for (size_t i = begin; i < end; ++i) ++hits[i];
        });
        pool.parallel_for_dynamic(n, grain, [&](size_t begin, size_t end, size_t) {
          for (size_t i = begin; i < end; ++i) ++dynamic_hits[i];
        });
        EXPECT_EQ(hits, std::vector<int>(n, 1));
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

// Beside each other, and not all on the core of the thread that made them.
TEST(ThreadPool, PinnedThreadsLieOnCoresOfTheirOwn) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  const size_t n_threads = std::min<size_t>(4, size_t(CPU_COUNT(&before)));
  if (n_threads < 2) GTEST_SKIP() << "one core";
  {
    ThreadPool pool(n_threads, true);
    std::vector<cpu_set_t> bound(n_threads);
    pool.run([&](size_t thread) { sched_getaffinity(0, sizeof bound[thread], &bound[thread]); });
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
