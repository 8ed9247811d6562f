// Deterministic automata over bytes, for regular expressions that are combined: both of two, all but.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "grammar/expression.h"

namespace hunch::grammar {

class Dfa {
 public:
  static constexpr size_t kMostStates = 20'000;

  // Of an expression without rules. Throws Error{kLimit} beyond kMostStates.
  explicit Dfa(const Expr& expression);
  // What both match, or what `a` matches and `b` does not. Throws as above.
  static std::shared_ptr<const Dfa> both(const Dfa& a, const Dfa& b);
  static std::shared_ptr<const Dfa> without(const Dfa& a, const Dfa& b);

  size_t n_states() const { return accepts_.size(); }  // 0 is the first
  bool accepts(uint32_t q) const { return accepts_[q]; }
  int32_t next(uint32_t q, uint8_t byte) const { return next_[q][byte]; }  // -1: none
  bool matches(std::string_view text) const;
  // Whether it matches any text.
  bool matches_any() const;

 private:
  Dfa() = default;
  static std::shared_ptr<const Dfa> combined(const Dfa& a, const Dfa& b, bool wants_b);
  void add_state(bool accepts);

  std::vector<std::array<int32_t, 256>> next_;
  std::vector<bool> accepts_;
};

}  // namespace hunch::grammar
