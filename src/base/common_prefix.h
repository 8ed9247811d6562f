// How far two texts begin alike.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hunch {

inline size_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  return size_t(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace hunch
