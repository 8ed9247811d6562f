#include "kernels/double_products.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/double_products.cc"
#include <algorithm>

#include "base/error.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_HAVE_FLOAT64
// Four rows of A times four of B: sixteen sums, each loaded value used four times.
template <size_t kRows, size_t kCols>
HWY_INLINE void Tile(const double* a, size_t a_stride, const double* b, size_t b_stride, size_t k, double* c,
                     size_t c_stride) {
  const hn::CappedTag<double, 8> d;
  const size_t N = hn::Lanes(d);
  using V = hn::Vec<decltype(d)>;
  V sums[kRows][kCols];
  for (size_t i = 0; i < kRows; ++i)
    for (size_t j = 0; j < kCols; ++j) sums[i][j] = hn::Zero(d);
  size_t p = 0;
  for (; p + N <= k; p += N) {
    V right[kCols];
    for (size_t j = 0; j < kCols; ++j) right[j] = hn::LoadU(d, b + j * b_stride + p);
    for (size_t i = 0; i < kRows; ++i) {
      const V left = hn::LoadU(d, a + i * a_stride + p);
      for (size_t j = 0; j < kCols; ++j) sums[i][j] = hn::MulAdd(left, right[j], sums[i][j]);
    }
  }
  for (size_t i = 0; i < kRows; ++i)
    for (size_t j = 0; j < kCols; ++j) {
      double sum = hn::GetLane(hn::SumOfLanes(d, sums[i][j]));
      for (size_t q = p; q < k; ++q) sum += a[i * a_stride + q] * b[j * b_stride + q];
      c[i * c_stride + j] -= sum;
    }
}

// Rows of A against all of B, in parts of k that stay in the cache.
void SubtractProducts(MatView<const double> A, MatView<const double> B, MatView<double> C) {
  constexpr size_t kDepth = 512;
  for (size_t first = 0; first < A.cols; first += kDepth) {
    const size_t k = std::min(kDepth, A.cols - first);
    for (size_t i = 0; i < A.rows; i += 4)
      for (size_t j = 0; j < B.rows; j += 4) {
        const double *a = A.data + i * A.row_stride + first, *b = B.data + j * B.row_stride + first;
        double* const c = C.data + i * C.row_stride + j;
        const size_t rows = std::min<size_t>(4, A.rows - i), cols = std::min<size_t>(4, B.rows - j);
        if (rows == 4 && cols == 4) {
          Tile<4, 4>(a, A.row_stride, b, B.row_stride, k, c, C.row_stride);
          continue;
        }
        for (size_t r = 0; r < rows; ++r)
          for (size_t s = 0; s < cols; ++s)
            Tile<1, 1>(a + r * A.row_stride, A.row_stride, b + s * B.row_stride, B.row_stride, k,
                       c + r * C.row_stride + s, C.row_stride);
      }
  }
}
#else
void SubtractProducts(MatView<const double> A, MatView<const double> B, MatView<double> C) {
  ref::subtract_products(A, B, C);
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(SubtractProducts);

void subtract_products(Compute& compute, MatView<const double> A, MatView<const double> B, MatView<double> C) {
  HUNCH_CHECK(A.cols == B.cols && C.rows == A.rows && C.cols == B.rows, "[{}, {}] times [{}, {}] into [{}, {}]", A.rows,
              A.cols, B.rows, B.cols, C.rows, C.cols);
  if (C.rows == 0 || C.cols == 0) return;
  // Tiles of C, small enough that their rows of A and B stay in the second cache.
  constexpr size_t kTile = 64;
  const size_t n_down = (C.rows + kTile - 1) / kTile, n_across = (C.cols + kTile - 1) / kTile;
  compute.threads.parallel_for_dynamic(n_down * n_across, 1, [&](size_t begin, size_t end, size_t) {
    for (size_t tile = begin; tile < end; ++tile) {
      const size_t i = tile / n_across * kTile, j = tile % n_across * kTile;
      const size_t rows = std::min(kTile, C.rows - i), cols = std::min(kTile, C.cols - j);
      HWY_DYNAMIC_DISPATCH(SubtractProducts)
      (A.row_range(i, rows), B.row_range(j, cols), C.row_range(i, rows).col_range(j, cols));
    }
  });
}

namespace ref {

void subtract_products(MatView<const double> A, MatView<const double> B, MatView<double> C) {
  for (size_t i = 0; i < A.rows; ++i)
    for (size_t j = 0; j < B.rows; ++j) {
      double sum = 0;
      for (size_t k = 0; k < A.cols; ++k) sum += A.row(i)[k] * B.row(j)[k];
      C.row(i)[j] -= sum;
    }
}

}  // namespace ref
}  // namespace hunch
#endif  // HWY_ONCE
