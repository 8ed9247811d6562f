// For tests: ranks that are threads of the test, with engines of their own.
#pragma once
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "engine/ranks.h"
#include "parallel/thread_ranks.h"

namespace hunch {

// lead(ranks) on rank 0 of n while the others follow. Returns what the others threw, of each.
inline std::string with_followers(size_t n, const std::function<void(Ranks&)>& lead, double timeout = 60) {
  const auto ends = thread_ranks(n, timeout);
  std::vector<std::string> errors(n);
  std::vector<std::thread> others;
  for (size_t r = 1; r < n; ++r)
    others.emplace_back([&, r] {
      Ranks ranks(*ends[r]);
      try {
        follow(ranks);
      } catch (const Error& e) {
        errors[r] = e.what();
      }
    });
  Ranks ranks(*ends[0]);
  try {
    lead(ranks);
  } catch (const Error& e) {
    errors[0] = e.what();
  }
  ranks.outbox().put(Order::kEnd);
  try {
    ranks.send();
  } catch (const Error&) {
  }
  for (std::thread& other : others) other.join();
  return std::accumulate(errors.begin(), errors.end(), std::string());
}

}  // namespace hunch
