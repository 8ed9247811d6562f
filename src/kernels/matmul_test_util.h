// What the tests of the product kernels share: random matrices of any dtype, error bounds derived from
// the contract, the list of formats and the loop over SIMD targets.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "formats/fp8.h"
#include "formats/table.h"
#include "kernels/each_target.h"
#include "kernels/matmul.h"

namespace hunch {

// Every format that computes.
inline std::vector<DType> computing_types() {
  std::vector<DType> types;
  for (const Format& format : formats())
    if (format.computes()) types.push_back(format.dtype);
  return types;
}

inline std::vector<float> normal_values(size_t n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(rng);
  return x;
}

// Sets all bytes of a block to `value` but those of its floats, which formats call d, d_min, min, scale or, an
// exponent, e, and of the integer scales, unless they are to go too.
template <class Block>
void set_codes(Block& block, std::byte value, bool and_scales) {
  const Block before = block;
  std::memset(&block, int(value), sizeof block);
  if constexpr (requires { block.d; }) block.d = before.d;
  if constexpr (requires { block.e; }) block.e = before.e;
  if constexpr (requires { block.scale; }) std::memcpy(block.scale, before.scale, sizeof block.scale);
  if constexpr (requires { block.d_min; }) block.d_min = before.d_min;
  if constexpr (requires { block.min; }) block.min = before.min;
  if constexpr (requires { block.scales; })
    if (!and_scales) std::memcpy(block.scales, before.scales, sizeof block.scales);
}

// Codes that stand for no number become their neighbours.
template <class Block>
void drop_nan(Block& block) {
  if constexpr (std::is_same_v<Block, format::FP8::Block>)
    for (uint8_t& q : block.q)
      if ((q & 0x7f) == 0x7f) q ^= 1;
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
    if (!info(view.dtype).has_min) return;
    // What is left of a block without its codes is its minima.
    std::vector<float> min(view.cols);
    for (size_t r = 0; r < view.rows; ++r) {
      std::vector<std::byte> blocks(view.row(r), view.row(r) + row_bytes(view.dtype, view.cols));
      for_each_block(blocks.data(), blocks.size(), [](auto& block) { set_codes(block, {}, /*and_scales=*/false); });
      codec(view.dtype).decode(blocks.data(), min.data(), view.cols);
      for (size_t c = 0; c < view.cols; ++c) magnitude[r * view.cols + c] += 2 * std::fabs(min[c]);
    }
  }
  std::span<const float> row(size_t r) const { return {decoded.data() + r * view.cols, view.cols}; }
  // Sets every byte of every block but the floats.
  void fill_codes(std::byte value) {
    for (size_t r = 0; r < view.rows; ++r)
      for_each_block(bytes.data() + r * view.row_stride_bytes, row_bytes(view.dtype, view.cols), [&](auto& block) {
        set_codes(block, value, /*and_scales=*/true);
        drop_nan(block);
      });
    decode();
  }
  // body(block), which it may change, for the blocks in n_bytes.
  template <class Body>
  void for_each_block(std::byte* blocks, size_t n_bytes, const Body& body) const {
    with_format(view.dtype, [&](BlockFormat auto f) {
      typename decltype(f)::Block block;
      for (size_t at = 0; at < n_bytes; at += sizeof block) {
        std::memcpy(&block, blocks + at, sizeof block);
        body(block);
        std::memcpy(blocks + at, &block, sizeof block);
      }
    });
  }
};

// Rows from the encoder, and, in formats with blocks, between them rows of random bits with sane scales: codes that no
// encoder chooses.
inline TestMatrix random_matrix(DType dtype, size_t rows, size_t cols, size_t padding_bytes, uint32_t seed) {
  TestMatrix m;
  const size_t stride = row_bytes(dtype, cols) + padding_bytes;
  m.bytes.resize(rows == 0 ? 0 : (rows - 1) * stride + row_bytes(dtype, cols));
  m.view = {dtype, m.bytes.data(), rows, cols, stride};
  const std::vector<float> values = normal_values(rows * cols, seed);
  std::mt19937 rng(seed);
  for (size_t r = 0; r < rows; ++r) {
    std::byte* row = m.bytes.data() + r * stride;
    if (r % 2 == 0 || is_plain(dtype)) {
      info(dtype).encode(&values[r * cols], row, cols);
      continue;
    }
    for (size_t at = 0; at < row_bytes(dtype, cols); ++at) row[at] = std::byte(rng());
    m.for_each_block(row, row_bytes(dtype, cols), [&](auto& block) {
      if constexpr (requires { block.d; }) block.d = to_f16(0.001f * float(1 + rng() % 8));
      if constexpr (requires { block.e; }) block.e = uint8_t(119 + rng() % 8);
      if constexpr (requires { block.scale; })
        for (float& scale : block.scale) scale = 0.001f * float(1 + rng() % 8);
      if constexpr (requires { block.d_min; }) block.d_min = to_f16(0.01f * float(1 + rng() % 4));
      if constexpr (requires { block.min; }) block.min = to_f16(0.01f * float(1 + rng() % 4));
      drop_nan(block);
    });
  }
  m.decode();
  return m;
}

// x as a product with weights of this dtype uses it: itself, or rounded to int8 in blocks of 32.
inline std::vector<float> input_as_seen(DType dtype, std::span<const float> x) {
  std::vector<float> seen(x.begin(), x.end());
  if (multiplies_floats(dtype)) return seen;
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

struct Batch {
  std::vector<float> values;
  MatView<const float> view;
  Batch(size_t n_tokens, size_t n_in, size_t padding, uint32_t seed)
      : values(normal_values(n_tokens * (n_in + padding), seed)), view(values.data(), n_tokens, n_in, n_in + padding) {}
};

// Each row of X as the kernel for `dtype` uses it.
inline Batch as_seen(DType dtype, const Batch& X) {
  Batch seen = X;
  seen.view.data = seen.values.data();
  for (size_t t = 0; t < X.view.rows; ++t) {
    const std::vector<float> row = input_as_seen(dtype, X.view.row(t));
    std::copy(row.begin(), row.end(), seen.values.begin() + std::ptrdiff_t(t * X.view.row_stride));
  }
  return seen;
}

// Y of `matmul` on X against the reference, within the rounding of f32 sums.
inline void expect_matmul(Compute& compute, const TestMatrix& W, const Batch& X, bool with_bias) {
  const size_t n_tokens = X.view.rows, n_out = W.view.rows, y_stride = n_out + 5;
  SCOPED_TRACE(std::string(name_of(W.view.dtype)) + " rows " + std::to_string(n_out) + " cols " +
               std::to_string(W.view.cols) + " tokens " + std::to_string(n_tokens));
  const std::vector<float> bias = with_bias ? normal_values(n_out, 99) : std::vector<float>();
  std::vector<float> got(n_tokens * y_stride, 777.0f), want(got);
  const MatmulTask task{W.view, bias, MatView<float>(got.data(), n_tokens, n_out, y_stride)};
  matmul(compute, X.view, std::span(&task, 1));
  const Batch seen = as_seen(W.view.dtype, X);
  ref::matmul(seen.view, {W.view, bias, MatView<float>(want.data(), n_tokens, n_out, y_stride)});
  for (size_t t = 0; t < n_tokens; ++t)
    for (size_t r = 0; r < y_stride; ++r) {
      const size_t at = t * y_stride + r;
      if (r >= n_out) {
        ASSERT_EQ(got[at], 777.0f) << "wrote beyond its columns";
      } else {
        // Where the bias is larger than all products, each of n additions is rounded as it is: about the root of n
        // times half an ulp.
        ASSERT_NEAR(got[at], want[at], tolerance(W, r, seen.view.row(t)) + 4e-6f * (with_bias ? std::fabs(bias[r]) : 0))
            << "token " << t << " row " << r;
      }
    }
}

inline void expect_matmul(Compute& compute, const TestMatrix& W, size_t n_tokens, bool with_bias, uint32_t seed) {
  expect_matmul(compute, W, Batch(n_tokens, W.view.cols, 3, seed), with_bias);
}

}  // namespace hunch
