// For tests: ranks that are threads of the test.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "model/open_model.h"
#include "model/ranks.h"
#include "model/transformer.h"
#include "parallel/thread_ranks.h"

namespace hunch {

// What a rank that is told what to do does with its part of a model.
inline void obey_until_the_end(Ranks& ranks, const Model& model, Compute& compute, const FollowerHooks& hooks) {
  Follower follower(model, compute, hooks);
  for (;;) {
    Message message = Message::receive(ranks.communicator());
    while (!message.at_end()) {
      const auto order = message.get<Order>();
      if (order == Order::kEnd) return;
      try {
        follower.obey(order, message);
      } catch (const Error& e) {
        if (e.kind() != ErrorKind::kInterrupted) throw;
      }
    }
  }
}

// lead(model, compute) on rank 0 of n, which have the model divided so, while the others follow with their parts of the
// same file, a thread each. What rank 0 throws is thrown. Returns what the others threw, one after the other. `through`
// wraps what rank 0 says and hears.
inline std::string on_ranks(size_t n, const std::filesystem::path& path,
                            const std::function<void(const Model&, Compute&)>& lead, const Division& division = {},
                            const std::function<std::unique_ptr<Communicator>(Communicator&)>& through = {},
                            const FollowerHooks& hooks = {}) {
  const auto ends = thread_ranks(n);
  std::vector<std::string> errors(n);
  std::vector<std::thread> others;
  for (size_t r = 1; r < n; ++r)
    others.emplace_back([&, r] {
      try {
        Ranks ranks(*ends[r]);
        ranks.division = division;
        Compute compute(1);
        const Model model(open_model(path).file, WeightOptions{false, &ranks}, compute);
        obey_until_the_end(ranks, model, compute, hooks);
      } catch (const std::exception& e) {
        errors[r] = e.what();
        try {
          ends[r]->abort(e.what());
        } catch (const Error&) {
        }
      }
    });
  const auto join = [&] {
    for (std::thread& other : others) other.join();
  };
  const std::unique_ptr<Communicator> wrapped = through ? through(*ends[0]) : nullptr;
  Ranks ranks(wrapped ? *wrapped : *ends[0]);
  ranks.division = division;
  const auto end = [&] {
    ranks.outbox().put(Order::kEnd);
    try {
      ranks.send();
    } catch (const Error&) {  // they have ended already
    }
    join();
  };
  try {
    Compute compute(1);
    const Model model(open_model(path).file, WeightOptions{false, &ranks}, compute);
    lead(model, compute);
  } catch (...) {
    end();
    throw;
  }
  end();
  std::string all;
  for (const std::string& error : errors) all += error;
  return all;
}

}  // namespace hunch
