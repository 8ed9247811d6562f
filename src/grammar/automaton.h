// A compiled grammar: for each rule an automaton over bytes, whose edges may call other rules. Immutable.
//
// What is read of it later works on sets of its states, so that it needs not be deterministic. Every state that can be
// reached can still reach an end: a byte that is allowed never leads to where no text is whole.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "grammar/expression.h"

namespace hunch::grammar {

constexpr size_t kMostStates = 400'000;

class Automaton {
 public:
  struct Edge {
    uint8_t first, last;  // bytes
    uint32_t to;
  };
  struct Call {
    uint32_t rule, to;
  };
  struct State {
    std::vector<Edge> edges;
    std::vector<Call> calls;  // of rules; the empty text is never a rule's: where it may be, the call may be skipped
    bool accepts = false;
  };

  // Throws Error{kUsage} for a rule that is used and has no body, for rules that begin with themselves (left
  // recursion), for a grammar that no text matches, and Error{kLimit} beyond kMostStates.
  explicit Automaton(const Rules& rules);

  const State& state(uint32_t q) const { return states_[q]; }
  size_t n_states() const { return states_.size(); }
  // The states that q is as soon as it is reached: those of them that have edges or calls, or accept.
  std::span<const uint32_t> closure(uint32_t q) const { return closures_[q]; }
  std::span<const uint32_t> starts(uint32_t rule) const { return starts_[rule]; }
  size_t n_rules() const { return starts_.size(); }
  uint32_t root() const { return root_; }
  bool root_accepts_nothing() const { return nullable_[root_]; }  // the empty text is whole
  // All rules, those that begin with others before these.
  std::span<const uint32_t> order() const { return order_; }

 private:
  class Builder;
  void find_nullable();
  void find_productive(const Rules& rules);
  void close();
  void sort_rules(const Rules& rules);

  std::vector<State> states_;
  std::vector<std::vector<uint32_t>> epsilons_;  // dropped once closures are there
  std::vector<std::vector<uint32_t>> closures_, starts_;
  std::vector<uint32_t> first_, last_;  // state of each rule
  std::vector<bool> nullable_;
  std::vector<uint32_t> order_;
  uint32_t root_;
};

}  // namespace hunch::grammar
