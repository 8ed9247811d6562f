// Numbers inside packed blocks.
#pragma once
#include <cstdint>
#include <cstring>

#include "base/half.h"

namespace hunch {

inline uint16_t word_at(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, 2);
  return v;
}
inline uint32_t double_word_at(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}
inline float half_at(const uint8_t* p) { return to_f32(f16{word_at(p)}); }

}  // namespace hunch
