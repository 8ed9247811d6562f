// A window onto a weight matrix of any format. Nothing here allocates or frees; someone else keeps the memory.
#pragma once
#include <cassert>
#include <cstddef>

#include "base/view.h"
#include "formats/format.h"

namespace hunch {

// A [rows, cols] weight matrix of any dtype, row-major, as it lies in a file or in a repacked arena.
// Rows are whole blocks along `cols`, the input dimension: weights are [out, in].
struct WeightView {
  DType dtype = DType::kF32;
  const std::byte* data = nullptr;
  size_t rows = 0, cols = 0;
  size_t row_stride_bytes = 0;  // >= row_bytes(dtype, cols); larger inside neuron-major records
  // The same rows once more, sixteen of them interleaved (formats/strip_shape.h), or none: what multiplies all rows
  // reads these. `data` stays valid.
  const std::byte* strips = nullptr;
  size_t strip_stride_bytes = 0;

  explicit operator bool() const { return data != nullptr; }
  const std::byte* row(size_t r) const {
    assert(r < rows);
    return data + r * row_stride_bytes;
  }
  WeightView row_range(size_t begin, size_t count) const {
    assert(begin + count <= rows);
    WeightView part{dtype, data + begin * row_stride_bytes, count, cols, row_stride_bytes};
    if (strips && begin % 16 == 0) {
      part.strips = strips + begin / 16 * strip_stride_bytes;
      part.strip_stride_bytes = strip_stride_bytes;
    }
    return part;
  }
  // Bytes that a pass over all rows touches (padding between rows not counted).
  size_t bytes() const { return rows * row_bytes(dtype, cols); }
};

// A packed weight view over f32 values; convenient in tests.
inline WeightView weight_view(MatView<const float> m) {
  return {DType::kF32, reinterpret_cast<const std::byte*>(m.data), m.rows, m.cols, m.row_stride * sizeof(float)};
}

}  // namespace hunch
