// How much of the model an answer computes, as requests name it: each plan made once, since texts are only reused where
// the same one computed them.
#pragma once
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "engine/engine.h"

namespace hunch::serve {

class Plans {
 public:
  // How much of it, and what its cache keeps.
  struct Choice {
    std::string mode = "exact";
    double density = 0;
    std::string kv_policy = {};  // as key_policy_from() reads it; "": all
    std::string prefill = {};    // what queries of prompts read, as prompt_patterns() reads it; "": everything
    bool operator==(const Choice&) const = default;
  };
  // `usual` is that of requests that say nothing. The engine outlives it. Throws as Engine::plan_named() and
  // key_policy_from().
  Plans(const Engine& engine, Choice usual);

  const Choice& usual() const { return usual_; }
  // Any thread's. Throws RequestError{400} for sparse mode of a model without a sidecar, and for a policy that is none.
  std::shared_ptr<const Plan> plan(const Choice& choice);

 private:
  struct Made {
    Choice choice;
    std::shared_ptr<const Plan> plan;
  };
  std::shared_ptr<const Plan> make(const Choice& choice) const;

  const Engine& engine_;
  const Choice usual_;
  std::mutex mutex_;
  std::list<Made> made_;  // the one that was used last at the end
};

}  // namespace hunch::serve
