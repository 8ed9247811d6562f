#include "kernels/gather.h"

#include <algorithm>

#include "base/checked_math.h"
#include "base/error.h"
#include "kernels/gemv.h"
#include "kernels/quantize.h"

namespace hunch {

void gather_dot(ThreadPool& pool, const WeightView& W, std::span<const uint32_t> rows, std::span<const float> x,
                std::span<float> y, Scratch& scratch) {
  HUNCH_CHECK(x.size() == W.cols && y.size() == rows.size(), "x of {} for {} columns, y of {} for {} rows", x.size(),
              W.cols, y.size(), rows.size());
  if (rows.empty()) return;
  const GemvArgs args{W, rows.data(), nullptr, y.data(), 0};
  const MatView<const float> X(x.data(), 1, x.size());
  if (info(W.dtype).block_elems == 1) {
    pool.parallel_for(rows.size(), 4, [&](size_t begin, size_t end, size_t) { gemv_float(args, X, begin, end); });
    return;
  }
  QuantizedX shape;
  shape.n_tokens = 1;
  shape.n_padded = round_up(x.size(), QuantizedX::kPad);
  const size_t quantised = round_up(quantized_bytes(1, x.size()), 64);
  const size_t packed_bytes = gemv_int8_packed_bytes(W.dtype, shape);
  std::byte* memory = scratch.get<std::byte>(quantised + packed_bytes).data();
  const QuantizedX qx = quantize(pool, X, memory);
  std::byte* packed = packed_bytes ? memory + quantised : nullptr;
  if (packed) gemv_int8_pack(W.dtype, qx, packed);
  pool.parallel_for(rows.size(), 4, [&](size_t begin, size_t end, size_t) { gemv_int8(args, qx, packed, begin, end); });
}

void gather_axpy(ThreadPool& pool, const WeightView& W, std::span<const uint32_t> rows, std::span<const float> a,
                 std::span<float> y, Scratch& scratch) {
  HUNCH_CHECK(a.size() == rows.size() && y.size() == W.cols, "a of {} for {} rows, y of {} for {} columns", a.size(),
              rows.size(), y.size(), W.cols);
  AxpyArgs args{W, rows.data(), MatView<const float>(a.data(), 1, a.size())};
  add_rows(pool, args, rows.size(), MatView<float>(y.data(), 1, y.size()), scratch);
}

}  // namespace hunch
