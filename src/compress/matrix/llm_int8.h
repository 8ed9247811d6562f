// LLM.int8(): inputs with outliers apart in full precision, everything else in 8 bits with a scale for each token and
// for each row of weights (Dettmers et al. 2022, arXiv:2208.07339).
#pragma once
#include <cstdint>
#include <vector>

#include "compress/linear_algebra.h"

namespace hunch {

struct Int8Rows {
  size_t cols = 0;
  std::vector<int8_t> codes;       // [n_rows * cols]
  std::vector<float> absmax;       // [n_rows]; a value is code * absmax / 127
  std::vector<uint32_t> outliers;  // columns, ascending, whose codes are 0
};

// Of weights: every row by its largest |w|.
Int8Rows int8_rows(const Matrix& W);
// Which values set a token's scale.
enum class OutlierScale : uint8_t {
  kWithoutColumns,  // those of columns without outliers (the paper, equation 8)
  kWithoutValues    // those that are no outliers themselves, also in such columns (bitsandbytes)
};
// Of activations: columns that hold any |x| >= threshold are outliers. A single token's column keeps its other values,
// of which there are none.
Int8Rows int8_tokens(const Matrix& X, float threshold, OutlierScale scale);

// Y [n_tokens, n_out] = the product of the codes, and of the outlier columns of X with those of W. `W`: what these are
// multiplied by, the original or the rounded weights.
Matrix multiply_int8(const Int8Rows& x, const Matrix& X, const Int8Rows& w, const Matrix& W);
Matrix decode(const Int8Rows& rows);

}  // namespace hunch
