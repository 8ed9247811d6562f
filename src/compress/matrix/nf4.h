// NormalFloat in 4 bits, and its scales in 8 (Dettmers et al. 2023, "QLoRA", arXiv:2305.14314, section 3, with the
// tables of bitsandbytes).
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "compress/linear_algebra.h"

namespace hunch {

// What scales are rounded to: 256 numbers of [-1, 1], rising, an exponent of powers of ten with a linear fraction.
std::array<float, 256> dynamic_map();

struct Nf4Matrix {
  size_t rows = 0, cols = 0;
  std::vector<uint8_t> codes;  // [rows * cols]
  std::vector<float> absmax;   // of every 64 values of the flattened matrix; as they are read again
  // With double quantisation: absmax = map[code] * nested_absmax + offset.
  std::vector<uint8_t> absmax_codes;
  std::vector<float> nested_absmax;  // of every 256 scales
  float offset = 0;                  // their mean
};

constexpr size_t kNf4Block = 64, kNf4NestedBlock = 256;

Nf4Matrix nf4(const Matrix& W, bool double_quantisation);
Matrix decode(const Nf4Matrix& W);

}  // namespace hunch
