// Activations rounded to int8, for the products with quantised weights.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "base/view.h"

namespace hunch {

// X in blocks of 32: x ~ scale * q, scale = absmax / 127. A view into scratch memory.
// Rows are padded with zeros to a multiple of kPad elements, so that kernels read whole groups.
struct QuantizedX {
  static constexpr size_t kBlock = 32, kPad = 256;

  const int8_t* q = nullptr;     // [n_tokens][n_padded], each in -127..127
  const float* scale = nullptr;  // [n_tokens][n_padded / 32]
  // scale * the sum of q over 16 and over 32: for weights with a minimum.
  const float* scaled_sum16 = nullptr;  // [n_tokens][n_padded / 16]
  const float* scaled_sum = nullptr;    // [n_tokens][n_padded / 32]
  // -128 * the sums of q over 16 and over 32: where integer sums of (weight + 128) * q begin.
  const int32_t* start16 = nullptr;  // [n_tokens][n_padded / 16]
  const int32_t* start32 = nullptr;  // [n_tokens][n_padded / 32]
  size_t n_tokens = 0, n_in = 0, n_padded = 0;

  size_t n_blocks() const { return n_padded / kBlock; }
  const int8_t* q_row(size_t t) const { return q + t * n_padded; }
  const float* scale_row(size_t t) const { return scale + t * n_blocks(); }
  const float* scaled_sum16_row(size_t t) const { return scaled_sum16 + t * 2 * n_blocks(); }
  const float* scaled_sum_row(size_t t) const { return scaled_sum + t * n_blocks(); }
  const int32_t* start16_row(size_t t) const { return start16 + t * 2 * n_blocks(); }
  const int32_t* start32_row(size_t t) const { return start32 + t * n_blocks(); }
};

// Bytes that quantize() needs for X of this shape.
size_t quantized_bytes(size_t n_tokens, size_t n_in);
// Rounds X to nearest into `memory` (64-byte aligned, quantized_bytes long), which the view points into.
// Many tokens are shared out among the threads.
QuantizedX quantize(Compute& compute, MatView<const float> X, std::byte* memory);

}  // namespace hunch
