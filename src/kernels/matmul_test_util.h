// What the tests of the product kernels share: random matrices of any dtype, error bounds derived from
// the contract, and the loop over SIMD targets.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/codec.h"
#include "base/codec_blocks.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"
#include "kernels/matmul.h"

namespace hunch {

// Runs test() on every SIMD target that was compiled and that this CPU has; those with VNNI also without.
template <class Test>
void for_each_target(Test&& test) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    for (const bool hide_vnni : {false, true}) {
      hide_vnni_for_test(hide_vnni);
      SCOPED_TRACE(std::string(hwy::TargetName(target)) + (hide_vnni ? " without VNNI" : ""));
      test();
    }
  }
  hide_vnni_for_test(false);
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

inline std::vector<float> normal_values(size_t n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(rng);
  return x;
}

struct TestMatrix {
  std::vector<std::byte> bytes;  // exactly as long as the rows need: ASan sees every over-read
  std::vector<float> decoded;    // [rows][cols]
  // |w|, plus twice the minimum that was subtracted in formats with minima: what cancels in a sum.
  std::vector<float> magnitude;  // [rows][cols]
  WeightView view;

  void decode() {
    decoded.resize(view.rows * view.cols);
    for (size_t r = 0; r < view.rows; ++r) codec(view.dtype).decode(view.row(r), &decoded[r * view.cols], view.cols);
    magnitude = decoded;
    for (float& w : magnitude) w = std::fabs(w);
    if (view.dtype != DType::kQ4_K && view.dtype != DType::kQ5_K) return;
    for (size_t i = 0; i < magnitude.size(); i += 256) {
      BlockQ4_K head;  // Q5_K begins alike
      std::memcpy(&head, view.row(i / view.cols) + i % view.cols / 256 * info(view.dtype).block_bytes, 16);
      uint8_t scale[8], min[8];
      unpack_scales(head.scales, scale, min);
      for (size_t j = 0; j < 256; ++j) magnitude[i + j] += 2 * to_f32(head.d_min) * float(min[j / 32]);
    }
  }
  std::span<const float> row(size_t r) const { return {decoded.data() + r * view.cols, view.cols}; }
  // Sets every byte of every block but the f16 scales.
  void fill_codes(std::byte value) {
    for (size_t r = 0; r < view.rows; ++r)
      for (size_t at = 0; at < row_bytes(view.dtype, view.cols); at += info(view.dtype).block_bytes) {
        std::byte* b = bytes.data() + r * view.row_stride_bytes + at;
        std::byte scales[4];
        switch (view.dtype) {
          case DType::kQ6_K: std::memset(b, int(value), 208); break;
          case DType::kQ4_K:
          case DType::kQ5_K: std::memset(b + 4, int(value), info(view.dtype).block_bytes - 4); break;
          default:
            std::memcpy(scales, b, 2);
            std::memset(b, int(value), info(view.dtype).block_bytes);
            std::memcpy(b, scales, 2);
        }
      }
    decode();
  }
};

// Q5_K has no encoder: its blocks are random bits with sane scales.
inline TestMatrix random_matrix(DType dtype, size_t rows, size_t cols, size_t padding_bytes, uint32_t seed) {
  TestMatrix m;
  const size_t stride = row_bytes(dtype, cols) + padding_bytes;
  m.bytes.resize(rows == 0 ? 0 : (rows - 1) * stride + row_bytes(dtype, cols));
  m.view = {dtype, m.bytes.data(), rows, cols, stride};
  const std::vector<float> values = normal_values(rows * cols, seed);
  std::mt19937 rng(seed);
  for (size_t r = 0; r < rows; ++r) {
    std::byte* row = m.bytes.data() + r * stride;
    if (codec(dtype).encode) {
      codec(dtype).encode(&values[r * cols], row, cols);
      continue;
    }
    for (size_t at = 0; at < row_bytes(dtype, cols); ++at) row[at] = std::byte(rng());
    for (size_t at = 0; at < row_bytes(dtype, cols); at += sizeof(BlockQ5_K)) {
      const f16 d = to_f16(0.001f * float(1 + rng() % 8)), d_min = to_f16(0.01f * float(1 + rng() % 4));
      std::memcpy(row + at, &d, 2);
      std::memcpy(row + at + 2, &d_min, 2);
    }
  }
  m.decode();
  return m;
}

// x as a product with weights of this dtype uses it: itself, or rounded to int8 in blocks of 32.
inline std::vector<float> input_as_seen(DType dtype, std::span<const float> x) {
  std::vector<float> seen(x.begin(), x.end());
  if (info(dtype).block_elems == 1) return seen;
  for (size_t i = 0; i < seen.size(); i += 32) {
    float absmax = 0;
    for (size_t j = i; j < i + 32; ++j) absmax = std::max(absmax, std::fabs(x[j]));
    const float scale = absmax / 127, inverse = absmax > 0 ? 127 / absmax : 0;
    for (size_t j = i; j < i + 32; ++j) seen[j] = scale * float(std::lrintf(x[j] * inverse));
  }
  return seen;
}

// What dot(W[r], x) in f32 may be off by, x as seen. Any order of n additions errs by at most n/2 ulp
// of sum |w x|; with vector sums and n <= 1024 it stays below 16 of them, 1e-6.
inline float tolerance(const TestMatrix& W, size_t r, std::span<const float> x) {
  const float* w = &W.magnitude[r * W.view.cols];
  float sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += w[i] * std::fabs(x[i]);
  return 1e-6f * sum + 1e-30f;
}

}  // namespace hunch
