// Non-owning windows onto matrices. Nothing here allocates or frees; someone else keeps the memory.
#pragma once
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hunch {

// A row-major [rows, cols] window onto plain elements. `row_stride` is in elements and >= cols.
template <class T>
struct MatView {
  T* data = nullptr;
  size_t rows = 0, cols = 0, row_stride = 0;

  MatView() = default;
  MatView(T* data, size_t rows, size_t cols) : MatView(data, rows, cols, cols) {}
  MatView(T* data, size_t rows, size_t cols, size_t row_stride)
      : data(data), rows(rows), cols(cols), row_stride(row_stride) {}
  // A view to mutable elements converts to a view to const ones.
  template <class U>
  requires(!std::is_same_v<U, T> && std::is_same_v<const U, T>) MatView(MatView<U> m)
      : data(m.data), rows(m.rows), cols(m.cols), row_stride(m.row_stride) {}

  std::span<T> row(size_t r) const {
    assert(r < rows);
    return {data + r * row_stride, cols};
  }
  MatView row_range(size_t begin, size_t count) const {
    assert(begin + count <= rows);
    return {data + begin * row_stride, count, cols, row_stride};
  }
  MatView col_range(size_t begin, size_t count) const {
    assert(begin + count <= cols);
    return {data + begin, rows, count, row_stride};
  }
};

}  // namespace hunch
