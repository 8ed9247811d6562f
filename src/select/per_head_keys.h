// A policy of the key/value cache for each KV head of each layer, all alike.
#pragma once
#include "select/key_policy.h"
#include "select/key_selector.h"

namespace hunch {

class PerHeadKeys final : public KeySelector {
 public:
  // Every head keeps at most `budget` >= 1 tokens, chosen by a copy of `policy`. The first `n_sinks` of them move along
  // (KeyState::n_sinks): the policy must always keep these.
  PerHeadKeys(std::string_view kind, std::unique_ptr<const KeyPolicy> policy, size_t budget, size_t n_sinks = 0);

  std::string_view kind() const override { return kind_; }
  std::unique_ptr<SelectorState> new_state() const override;
  size_t most_slots() const override { return budget_; }
  bool streams() const override { return n_sinks_ > 0; }
  bool heads_apart() const override { return true; }

 private:
  class State;
  std::string_view kind_;
  std::unique_ptr<const KeyPolicy> policy_;
  size_t budget_, n_sinks_;
};

}  // namespace hunch
