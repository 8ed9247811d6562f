#include "kernels/gather.h"

#include <algorithm>

#include "base/checked_math.h"
#include "base/error.h"
#include "kernels/gemv.h"
#include "kernels/quantize.h"

namespace hunch {

void gather_dot(Compute& compute, const WeightView& W, std::span<const uint32_t> rows, MatView<const float> X,
                MatView<float> Y) {
  HUNCH_CHECK(X.cols == W.cols && Y.cols == rows.size() && Y.rows == X.rows,
              "X [{}, {}] for {} columns, Y [{}, {}] for {} rows", X.rows, X.cols, W.cols, Y.rows, Y.cols, rows.size());
  if (rows.empty() || X.rows == 0) return;
  compute.meter.read_weights(rows.size() * row_bytes(W.dtype, W.cols));
  const GemvArgs args{W, rows.data(), nullptr, Y.data, Y.row_stride};
  if (multiplies_floats(W.dtype)) {
    compute.threads.parallel_for(rows.size(), 4, [&](size_t begin, size_t end) { gemv_float(args, X, begin, end); });
    return;
  }
  const Arena::Scope scope(compute.arena);
  QuantizedX shape;
  shape.n_tokens = X.rows;
  shape.n_padded = round_up(X.cols, QuantizedX::kPad);
  const size_t quantised = round_up(quantized_bytes(X.rows, X.cols), 64);
  const size_t packed_bytes = gemv_int8_packed_bytes(W.dtype, shape);
  std::byte* memory = compute.arena.take<std::byte>(quantised + packed_bytes).data();
  const QuantizedX qx = quantize(compute, X, memory);
  std::byte* packed = packed_bytes ? memory + quantised : nullptr;
  if (packed) gemv_int8_pack(W.dtype, qx, packed);
  compute.threads.parallel_for(rows.size(), 4,
                               [&](size_t begin, size_t end) { gemv_int8(args, qx, packed, begin, end); });
}

void gather_axpy(Compute& compute, const WeightView& W, std::span<const uint32_t> rows, MatView<const float> A,
                 MatView<float> Y) {
  HUNCH_CHECK(A.cols == rows.size() && Y.cols == W.cols && A.rows == Y.rows,
              "A [{}, {}] for {} rows, Y [{}, {}] for {} columns", A.rows, A.cols, rows.size(), Y.rows, Y.cols, W.cols);
  AxpyArgs args{W, rows.data(), A};
  compute.meter.read_weights(rows.size() * row_bytes(W.dtype, W.cols));
  args.skip_zeros = A.rows > 1;  // a single token's list leaves its zeros out
  add_rows(compute, args, rows.size(), Y);
}

void gather_dot(Compute& compute, const WeightView& W, std::span<const uint32_t> rows, std::span<const float> x,
                std::span<float> y) {
  gather_dot(compute, W, rows, MatView<const float>(x.data(), 1, x.size()), MatView<float>(y.data(), 1, y.size()));
}

void gather_axpy(Compute& compute, const WeightView& W, std::span<const uint32_t> rows, std::span<const float> a,
                 std::span<float> y) {
  gather_axpy(compute, W, rows, MatView<const float>(a.data(), 1, a.size()), MatView<float>(y.data(), 1, y.size()));
}

}  // namespace hunch
