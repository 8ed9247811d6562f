// What the selectors of a plan remember of one sequence.
#pragma once
#include <map>
#include <memory>

#include "select/selector.h"

namespace hunch {

// Belongs to the sequence and goes where it goes. One thread at a time.
class SelectorStates {
 public:
  // Made when a selector first asks; nullptr for selectors that remember nothing. The selector must outlive this.
  SelectorState* of(const Selector& selector) {
    const auto [found, is_new] = states_.try_emplace(&selector);
    if (is_new) found->second = selector.new_state();
    return found->second.get();
  }
  // The selector's state, where there is one that can be copied, for a sequence that branches off.
  void copy_to(SelectorStates& branch, const Selector& selector) const {
    const auto found = states_.find(&selector);
    if (found == states_.end() || !found->second) return;
    if (std::unique_ptr<SelectorState> copy = found->second->clone()) branch.states_[&selector] = std::move(copy);
  }
  void copy_to(SelectorStates& branch) const {
    for (const auto& [selector, state] : states_) copy_to(branch, *selector);
  }
  void truncate(size_t n_tokens) {
    for (auto& [selector, state] : states_)
      if (state) state->truncate(n_tokens);
  }

 private:
  std::map<const Selector*, std::unique_ptr<SelectorState>> states_;
};

}  // namespace hunch
