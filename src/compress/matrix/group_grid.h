// Evenly spaced values with a scale and a zero point for each group of weights: round-to-nearest, and what GPTQ rounds
// to.
#pragma once
#include <cstdint>
#include <span>

#include "compress/linear_algebra.h"
#include "formats/dtype.h"

namespace hunch {

struct GridOptions {
  int bits = 4;                  // 2 to 8
  bool symmetric = false;        // around zero
  size_t group = 0;              // input weights of a row that share a grid; 0: all of the row
  bool search = false;           // shrink the range to where |error|^2.4 is least, rather than cover all weights
  DType scale_as = DType::kF32;  // f32, f16 or bf16: scales are numbers of this type, as a checkpoint will have them
};

// The number of a float type that is nearest to a scale, but not 0. Throws Error{kUnsupported} for another type.
float scale_in(DType type, float scale);

struct Grid {
  float scale = 1, zero = 0;  // value = scale * (code - zero), zero an integer
  int max_code = 0;
  int code(float w) const;
  float value(int code) const { return scale * (float(code) - zero); }
};

// Covers min and max of `w` and 0 with 2^bits codes; one that is all zero covers [-1, 1] (Frantar et al. 2022,
// quant.py, with its search: norm 2.4, 100 steps, down to a fifth of the range). f32, ties to even.
Grid fit_grid(std::span<const float> w, const GridOptions& options);

// A matrix in codes.
struct CodedMatrix {
  Matrix values;                // [n_out, n_in] what the codes stand for
  std::vector<uint8_t> codes;   // [n_out * n_in]
  Matrix scale, zero;           // [n_out, n_groups]
  std::vector<uint32_t> group;  // [n_in] of each column

  CodedMatrix() = default;
  CodedMatrix(size_t n_out, size_t n_in, size_t group);
  void put(size_t row, size_t column, const Grid& grid, float w);
};

// Columns that share a grid, of a row of n_in. Throws Error{kUsage} for bits out of range or a group that does not
// divide n_in.
size_t group_of(const GridOptions& options, size_t n_in);

// Every weight to the nearest value of its group's grid.
CodedMatrix round_to_nearest(const Matrix& W, const GridOptions& options);

}  // namespace hunch
