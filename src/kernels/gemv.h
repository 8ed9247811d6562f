// Products of a few tokens with many rows: each weight is read once, at memory speed.
#pragma once
#include <cstddef>
#include <cstdint>

#include "formats/weight_view.h"
#include "kernels/quantize.h"

namespace hunch {

// Y[t, i] = dot(W[row(i), :], X[t, :]) + bias[i] for positions i of a range.
struct GemvArgs {
  WeightView W;
  const uint32_t* ids = nullptr;  // row(i) = ids[i], or i where null
  const float* bias = nullptr;    // may be null
  float* y = nullptr;             // y[t * y_stride + i]
  size_t y_stride = 0;
};

// Weights whose products are of floats (multiplies_floats()). Any number of tokens; each four of them read the rows
// from cache again.
void gemv_float(const GemvArgs& args, MatView<const float> X, size_t begin, size_t end);

// Quantised weights. `packed` is what gemv_int8_pack made of `x` for this dtype (null where
// gemv_int8_packed_bytes says 0).
void gemv_int8(const GemvArgs& args, const QuantizedX& x, const std::byte* packed, size_t begin, size_t end);

// The order of x that suits the wide kernels of one dtype; dtypes of equal gemv_int8_packing share it.
DType gemv_int8_packing(DType dtype);
size_t gemv_int8_packed_bytes(DType dtype, const QuantizedX& x);
void gemv_int8_pack(DType dtype, const QuantizedX& x, std::byte* packed);

// y[t, :] += sum over positions i of a range of A[t, i] * W[row(i), :]. Any dtype, decoded to f32.
struct AxpyArgs {
  WeightView W;
  const uint32_t* ids = nullptr;  // row(i) = ids[i], or i where null
  MatView<const float> A;         // [n_tokens, n_positions]
  float* y = nullptr;             // y[t * y_stride + column]
  size_t y_stride = 0;
  bool skip_zeros = false;  // does nothing where A is zero for all rows and tokens that are added together
};
void gemv_axpy(const AxpyArgs& args, size_t begin, size_t end);
// Up to how many tokens adding every row once per four tokens costs less than the panels of gemm_transposed().
size_t gemv_axpy_most_tokens(DType dtype);

// Y += the same over all positions, shared out among the threads; args.y is not used. Each thread has
// sums of its own, added up in thread order.
void add_rows(Compute& compute, AxpyArgs args, size_t n_positions, MatView<float> Y);

}  // namespace hunch
