#include "base/bind_threads.h"

#include <map>

namespace hunch {

bool on_every_thread(ThreadPool& pool, const std::function<void(size_t)>& task) {
  constexpr auto kPatience = std::chrono::seconds(5);
  std::atomic<size_t> n_here{0};
  std::atomic<bool> all_came{true};
  const auto begin = std::chrono::steady_clock::now();
  pool.run([&](size_t part) {
    // A thread begins with its own part, and stays there until every other one has begun with his.
    n_here.fetch_add(1);
    while (n_here.load() < pool.n_threads()) {
      if (std::chrono::steady_clock::now() - begin > kPatience) {
        all_came = false;
        break;
      }
      std::this_thread::yield();
    }
    task(part);
  });
  return all_came;
}

bool bind_threads(ThreadPool& pool, const ThreadPlaces& places, bool pin) {
  std::vector<std::vector<int>> cpus = places.cpus;
  std::map<std::vector<int>, size_t> n_before;  // threads that may use the same
  for (std::vector<int>& own : cpus)
    if (pin && !own.empty()) {
      const size_t n = n_before[own]++;
      own = {own[n % own.size()]};
    }
  return on_every_thread(pool, [&](size_t thread) {
    if (thread < cpus.size()) stay_on(cpus[thread]);
  });
}

}  // namespace hunch
