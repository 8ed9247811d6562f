#include "compress/matrix/llm_int8.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hunch {

Int8Rows int8_rows(const Matrix& W) { return int8_tokens(W, INFINITY, OutlierScale::kWithoutValues); }

Int8Rows int8_tokens(const Matrix& X, float threshold, OutlierScale scale) {
  Int8Rows out{X.cols, std::vector<int8_t>(X.values.size()), std::vector<float>(X.rows), {}};
  std::vector<uint8_t> is_outlier(X.cols);
  for (size_t r = 0; r < X.rows; ++r)
    for (size_t c = 0; c < X.cols; ++c) is_outlier[c] |= std::abs(X.row(r)[c]) >= threshold;
  for (size_t c = 0; c < X.cols; ++c)
    if (is_outlier[c]) out.outliers.push_back(uint32_t(c));
  for (size_t r = 0; r < X.rows; ++r) {
    float absmax = 0;
    for (size_t c = 0; c < X.cols; ++c) {
      const float v = std::abs(X.row(r)[c]);
      if (scale == OutlierScale::kWithoutColumns ? !is_outlier[c] : v < threshold) absmax = std::max(absmax, v);
    }
    out.absmax[r] = absmax;
    if (absmax == 0) continue;
    const float factor = 1 / absmax * 127;  // rounded twice, as in the reference
    for (size_t c = 0; c < X.cols; ++c)
      if (!is_outlier[c]) out.codes[r * X.cols + c] = int8_t(std::nearbyint(X.row(r)[c] * factor));
  }
  return out;
}

Matrix multiply_int8(const Int8Rows& x, const Matrix& X, const Int8Rows& w, const Matrix& W) {
  HUNCH_CHECK(x.cols == w.cols && W.cols == x.cols && X.cols == x.cols);
  Matrix Y(x.absmax.size(), w.absmax.size());
  for (size_t t = 0; t < Y.rows; ++t)
    for (size_t r = 0; r < Y.cols; ++r) {
      int64_t sum = 0;
      for (size_t c = 0; c < x.cols; ++c) sum += int64_t{x.codes[t * x.cols + c]} * w.codes[r * x.cols + c];
      double y = double(sum) * x.absmax[t] * w.absmax[r] / (127.0 * 127.0);
      for (uint32_t c : x.outliers) y += double(X.row(t)[c]) * W.row(r)[c];
      Y.row(t)[r] = float(y);
    }
  return Y;
}

Matrix decode(const Int8Rows& rows) {
  Matrix out(rows.absmax.size(), rows.cols);
  for (size_t r = 0; r < out.rows; ++r)
    for (size_t c = 0; c < out.cols; ++c) out.row(r)[c] = float(rows.codes[r * out.cols + c]) * rows.absmax[r] / 127.0f;
  return out;
}

}  // namespace hunch
