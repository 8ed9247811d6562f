#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ternary.h"

namespace hunch {
namespace {

int weight(const std::byte* row, size_t i) {
  const size_t in_group = i % kTernaryGroup;
  return (int(row[i / kTernaryGroup * 64 + in_group % 64]) >> in_group / 64 * 2 & 3) - 1;
}

}  // namespace

void pack_ternary(std::span<const int8_t> w, std::byte* row) {
  std::fill_n(row, ternary_bytes(w.size()), std::byte{0});
  for (size_t i = 0; i < ternary_padded(w.size()); ++i) {
    const size_t in_group = i % kTernaryGroup;
    const int code = i < w.size() ? w[i] + 1 : 1;
    row[i / kTernaryGroup * 64 + in_group % 64] |= std::byte(code << in_group / 64 * 2);
  }
}

void unpack_ternary(const std::byte* row, std::span<int8_t> w) {
  for (size_t i = 0; i < w.size(); ++i) w[i] = int8_t(weight(row, i));
}

namespace ref {

float round_to_int8(std::span<const float> x, std::span<int8_t> q) {
  float absmax = 1e-5f;
  for (const float v : x) absmax = std::max(absmax, std::fabs(v));
  const float inverse = 127 / absmax;
  std::ranges::fill(q, int8_t{0});
  for (size_t i = 0; i < x.size(); ++i) q[i] = int8_t(std::nearbyint(x[i] * inverse));
  return absmax / 127;
}

int32_t ternary_dot(const std::byte* row, std::span<const int8_t> x) {
  int32_t sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += weight(row, i) * x[i];
  return sum;
}

float ternary_dot(const std::byte* row, std::span<const float> x) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += weight(row, i) * double(x[i]);
  return float(sum);
}

void ternary_sum(const std::byte* rows, size_t stride, std::span<const uint32_t> ids, std::span<const int8_t> a,
                 std::span<int32_t> y) {
  for (size_t r = 0; r < y.size(); ++r) {
    y[r] = 0;
    for (const uint32_t k : ids) y[r] += a[k] * weight(rows + k * stride, r);
  }
}

void ternary_sum(const std::byte* rows, size_t stride, std::span<const uint32_t> ids, std::span<const float> a,
                 std::span<float> y) {
  for (size_t r = 0; r < y.size(); ++r) {
    double sum = 0;
    for (const uint32_t k : ids) sum += double(a[k]) * weight(rows + k * stride, r);
    y[r] = float(sum);
  }
}

}  // namespace ref
}  // namespace hunch
