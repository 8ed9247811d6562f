#include "compress/matrix/int8_matrix.h"

#include <algorithm>
#include <cmath>

#include "compress/matrix/group_grid.h"
#include "compress/matrix/zeroquant.h"

namespace hunch {
namespace {

float absmax(std::span<const float> w) {
  float most = 0;
  for (const float v : w) most = std::max(most, std::abs(v));
  return most;
}

int8_t* codes_of(EncodedMatrix& m, size_t r) { return reinterpret_cast<int8_t*>(m.row(r)); }

void round_rows(const Matrix& W, float whole, DType scale_as, Int8Matrix& out) {
  for (size_t r = 0; r < W.rows; ++r) {
    float scale = (whole > 0 ? whole : absmax(W.row(r))) / 127;
    if (scale > 0 && scale_as != DType::kF32) scale = scale_in(scale_as, scale);
    for (size_t c = 0; c < W.cols; ++c)
      codes_of(out.codes, r)[c] =
          scale > 0 ? int8_t(std::clamp(std::nearbyint(W.row(r)[c] / scale), -127.0f, 127.0f)) : int8_t{0};
    out.side.scale.push_back(scale);
  }
  if (whole > 0) out.side.scale.resize(1);
}

void round_groups(const Matrix& W, Int8Matrix& out) {
  size_t n_groups = std::min(kInt8MostGroups, W.rows);
  while (W.rows % n_groups != 0) --n_groups;
  const ZeroQuantised z = zeroquant(W, 8, n_groups, true);
  for (size_t r = 0; r < W.rows; ++r) {
    for (size_t c = 0; c < W.cols; ++c) codes_of(out.codes, r)[c] = int8_t(z.codes[r * W.cols + c]);
    out.side.scale.push_back(z.scale[r / (W.rows / n_groups)]);
  }
}

// The columns that are multiplied as floats leave W.
void take_outliers(Matrix& W, std::span<const uint32_t> outliers, Int8Side& side) {
  if (outliers.empty()) return;
  side.outliers.assign(outliers.begin(), outliers.end());
  side.outlier_weight = EncodedMatrix(DType::kF16, W.rows, side.outliers.size());
  std::vector<float> row(side.outliers.size());
  for (size_t r = 0; r < W.rows; ++r) {
    for (size_t i = 0; i < row.size(); ++i) row[i] = std::exchange(W.row(r)[side.outliers[i]], 0.0f);
    codec(DType::kF16).encode(row.data(), side.outlier_weight.row(r), row.size());
  }
}

}  // namespace

Int8Matrix int8_matrix(const Matrix& W, const Int8Inputs& inputs, const Int8Options& options) {
  Int8Matrix out;
  out.codes = EncodedMatrix(DType::kI8, W.rows, W.cols);
  Matrix rest = W;
  take_outliers(rest, inputs.outliers, out.side);
  switch (options.scales) {
    case Int8Scales::kRow: round_rows(rest, 0, options.scale_as, out); break;
    case Int8Scales::kMatrix: round_rows(rest, std::max(absmax(rest.values), 1e-30f), options.scale_as, out); break;
    case Int8Scales::kGroups: round_groups(rest, out); break;
  }
  if (!options.static_inputs || inputs.largest.empty()) return out;
  // The largest of all tokens were seen; the other rules look at a sample.
  std::vector<float> seen(inputs.largest.begin(), inputs.largest.end());
  if (options.range != RangeRule::kMax && inputs.sample) seen = inputs.sample->values;
  for (size_t i = 0; i < seen.size(); ++i)
    if (std::ranges::binary_search(out.side.outliers, uint32_t(i % W.cols))) seen[i] = 0;
  out.side.input_scale = input_range(seen, options.range) / 127;
  return out;
}

Int8::Parts parts_of(const EncodedMatrix& codes, const Int8Side& side) {
  return {codes.view(), side.scale, side.input_scale, side.outliers,
          side.outliers.empty() ? WeightView() : side.outlier_weight.view()};
}

std::unique_ptr<Linear> linear_of(LinearId id, Compute& compute, const EncodedMatrix& codes, const Int8Side& side,
                                  std::vector<float> bias) {
  return std::make_unique<Int8>(id, compute, parts_of(codes, side), std::move(bias), name_of(id.role));
}

}  // namespace hunch
