#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "kernels/int8_strips.h"

namespace hunch {
namespace {

size_t at(size_t r, size_t c) { return c / kInt8Quad * 64 + r * kInt8Quad + c % kInt8Quad; }

}  // namespace

void pack_int8_strip(const int8_t* W, size_t row_stride, size_t n_rows, size_t n_in, int8_t* strip) {
  std::memset(strip, 0, int8_strip_bytes(n_in));
  for (size_t r = 0; r < n_rows; ++r, W += row_stride) {
    const size_t n_quads = n_in / kInt8Quad;
    for (size_t q = 0; q < n_quads; ++q) std::memcpy(strip + q * 64 + r * kInt8Quad, W + q * kInt8Quad, kInt8Quad);
    for (size_t c = n_quads * kInt8Quad; c < n_in; ++c) strip[at(r, c)] = W[c];
  }
}

void unpack_int8_row(const int8_t* strip, size_t r, std::span<int8_t> row) {
  for (size_t c = 0; c < row.size(); ++c) row[c] = strip[at(r, c)];
}

namespace ref {

Int8Tokens round_to_int8(Compute& compute, MatView<const float> X, float input_scale) {
  Int8Tokens x;
  x.n_tokens = X.rows, x.n_in = X.cols;
  const std::span<int8_t> codes = compute.arena.take<int8_t>(X.rows * x.n_padded() + 1024);
  const std::span<float> scales = compute.arena.take<float>(X.rows);
  const std::span<int32_t> sums = compute.arena.take<int32_t>(X.rows);
  x.codes = codes.data(), x.scale = scales.data(), x.sum = sums.data();
  for (size_t t = 0; t < X.rows; ++t) {
    const std::span<const float> row = X.row(t);
    float largest = 0;
    bool finite = true;
    for (const float v : row) finite &= std::isfinite(v), largest = std::max(largest, std::fabs(v));
    if (largest < 1e-30f) largest = 0;
    const float inverse = input_scale > 0 ? 1 / input_scale : largest > 0 ? 127 / largest : 0;
    scales[t] = !finite ? NAN : input_scale > 0 ? input_scale : largest / 127;
    sums[t] = 0;
    for (size_t c = 0; c < x.n_padded(); ++c) {
      const float v = finite && c < X.cols ? std::clamp(row[c] * inverse, -127.0f, 127.0f) : 0;
      const auto code = int8_t(std::nearbyint(v));
      codes[size_t(x.token(t) - x.codes) + c / kInt8Step * x.step_bytes(t) + c % kInt8Step] = code;
      sums[t] += code;
    }
  }
  return x;
}

void multiply_int8(const Int8Tokens& x, const Int8Task& task) {
  for (size_t t = 0; t < x.n_tokens; ++t)
    for (size_t r = 0; r < task.Y.cols; ++r) {
      const size_t s = r / kInt8StripRows;
      if (task.only_chosen && !std::ranges::binary_search(task.chosen, uint32_t(s))) continue;
      const int8_t* strip = task.strips + s * int8_strip_bytes(x.n_in);
      int64_t sum = 0;
      for (size_t c = 0; c < x.n_in; ++c)
        sum += int64_t{strip[at(r % kInt8StripRows, c)]} * x.token(t)[c / kInt8Step * x.step_bytes(t) + c % kInt8Step];
      task.Y.row(t)[r] = float(double(sum) * task.scale[r] * x.scale[t] + (task.bias ? task.bias[r] : 0));
    }
}

}  // namespace ref
}  // namespace hunch
