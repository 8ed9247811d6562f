// What an answer must be: which tokens may come next.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace hunch {

// Of one answer in the making.
class Constraint {
 public:
  virtual ~Constraint() = default;
  // Bit i of word i / 64: token i may come next; those behind the last word may not. Empty: all may. Valid until the
  // next call. Tokens that end the text are among those that may where it is whole.
  virtual std::span<const uint64_t> mask() = 0;
  // This token comes next. False, and nothing changes, where it may not.
  virtual bool accept(int32_t token) = 0;
  // Takes back the last n tokens.
  virtual void go_back(size_t n) = 0;
  // The text is whole, and nothing but its end may come next.
  virtual bool is_over() const = 0;
};

inline bool is_allowed(std::span<const uint64_t> mask, size_t token) {
  return mask.empty() || (token / 64 < mask.size() && (mask[token / 64] >> (token % 64) & 1));
}

}  // namespace hunch
