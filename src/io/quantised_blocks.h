// Integers times scales as blocks of 32 that hold the very same numbers.
#pragma once
#include <cstdint>
#include <span>

#include "formats/format.h"

namespace hunch {

// The block formats of signed integers and an f16 scale, smallest first.
inline constexpr DType kIntegerBlocks[] = {DType::kQ4_0, DType::kQ5_0, DType::kQ8_0};

// What of a row decides which of them hold it.
struct IntegerRow {
  int lowest = 0, highest = 0;
  bool has_f16_scales = false;  // one for every block of 32, which f16 holds exactly
  bool fits(DType dtype) const;
};

// Of q[i] * scale[i]; both of one size, which 32 divides for `has_f16_scales`.
IntegerRow integer_row(std::span<const int16_t> q, std::span<const float> scale);

// Writes such a row in a format that it fits.
void write_integer_blocks(DType dtype, std::span<const int16_t> q, std::span<const float> scale, std::byte* out);

}  // namespace hunch
