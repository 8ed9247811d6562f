// Arithmetic on sizes that come from files: overflow is an answer, not a wrap.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>

namespace hunch {

inline std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
  uint64_t r;
  if (__builtin_mul_overflow(a, b, &r)) return std::nullopt;
  return r;
}

inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t r;
  if (__builtin_add_overflow(a, b, &r)) return std::nullopt;
  return r;
}

// Smallest multiple of `unit` that is >= n. `unit` > 0; the caller knows that n + unit fits.
constexpr uint64_t round_up(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace hunch
