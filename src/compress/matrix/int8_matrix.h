// A matrix in 8 bits for products with inputs in 8 bits.
#pragma once
#include <vector>

#include "compress/linear_algebra.h"
#include "compress/matrix/block_target.h"
#include "compress/matrix/input_range.h"
#include "linear/int8.h"

namespace hunch {

enum class Int8Scales : uint8_t {
  kRow,     // of every output, largest |w| / 127
  kMatrix,  // one
  kGroups,  // of runs of outputs, 2 largest |w| / 256, so that the largest is clamped: ZeroQuant's (matrix/zeroquant.h)
};

struct Int8Options {
  Int8Scales scales = Int8Scales::kRow;
  bool static_inputs = false;         // one scale for all tokens, measured; else each token's own
  RangeRule range = RangeRule::kMax;  // of the former
  DType scale_as = DType::kF32;       // as GridOptions::scale_as, of kRow and kMatrix
};

constexpr size_t kInt8MostGroups = 64;  // of kGroups: as many as divide the outputs, up to these

struct Int8Side {
  std::vector<float> scale;  // [n_out], or [1]
  float input_scale = 0;     // 0: each token's own
  std::vector<uint32_t> outliers;
  EncodedMatrix outlier_weight;  // F16 [n_out, outliers.size()]
};

struct Int8Matrix {
  EncodedMatrix codes;  // kI8
  Int8Side side;
};

// What was seen of a matrix's inputs.
struct Int8Inputs {
  std::span<const float> largest;  // [n_in] |x|; empty: nothing was seen, and tokens have their own scales
  const Matrix* sample = nullptr;  // [n, n_in]
  // LLM.int8()'s, ascending: those that are multiplied as floats, and whose weights are kept in F16.
  std::span<const uint32_t> outliers = {};
};

Int8Matrix int8_matrix(const Matrix& W, const Int8Inputs& inputs, const Int8Options& options);

// The form that computes it.
Int8::Parts parts_of(const EncodedMatrix& codes, const Int8Side& side);
std::unique_ptr<Linear> linear_of(LinearId id, Compute& compute, const EncodedMatrix& codes, const Int8Side& side,
                                  std::vector<float> bias = {});

}  // namespace hunch
