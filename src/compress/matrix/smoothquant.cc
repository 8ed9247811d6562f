#include "compress/matrix/smoothquant.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hunch {
namespace {

constexpr float kLeast = 1e-5f;

float absmax(std::span<const float> x) {
  float most = 0;
  for (float v : x) most = std::max(most, std::abs(v));
  return most;
}

}  // namespace

std::vector<float> input_maxima(std::span<const Matrix* const> matrices) {
  HUNCH_CHECK(!matrices.empty());
  std::vector<float> most(matrices[0]->cols, kLeast);
  for (const Matrix* W : matrices) {
    HUNCH_CHECK(W->cols == most.size());
    for (size_t r = 0; r < W->rows; ++r)
      for (size_t c = 0; c < W->cols; ++c) most[c] = std::max(most[c], std::abs(W->row(r)[c]));
  }
  return most;
}

std::vector<float> smoothing_scales(std::span<const float> act_max, std::span<const float> weight_max, double alpha) {
  HUNCH_CHECK(act_max.size() == weight_max.size());
  std::vector<float> s(act_max.size());
  for (size_t c = 0; c < s.size(); ++c)
    s[c] = std::max(kLeast, std::pow(act_max[c], float(alpha)) / std::pow(weight_max[c], float(1 - alpha)));
  return s;
}

void scale_inputs(std::span<const float> s, Matrix& W) {
  HUNCH_CHECK(s.size() == W.cols);
  for (size_t r = 0; r < W.rows; ++r)
    for (size_t c = 0; c < W.cols; ++c) W.row(r)[c] *= s[c];
}

void unscale_outputs(std::span<const float> s, Matrix& W) {
  HUNCH_CHECK(s.size() == W.rows);
  for (size_t r = 0; r < W.rows; ++r)
    for (float& w : W.row(r)) w /= s[r];
}

Matrix round_absmax(const Matrix& X, ScaleOf scale_of, int n_bits) {
  HUNCH_CHECK(n_bits >= 2 && n_bits <= 8, "{} bits", n_bits);
  const float max_code = float((1 << (n_bits - 1)) - 1), all = absmax(X.values);
  Matrix out = X;
  for (size_t r = 0; r < X.rows; ++r) {
    const float scale = std::max(scale_of == ScaleOf::kRow ? absmax(X.row(r)) : all, kLeast) / max_code;
    for (float& v : out.row(r)) v = std::nearbyint(v / scale) * scale;
  }
  return out;
}

}  // namespace hunch
