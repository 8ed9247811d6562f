#include "compress/matrix/double_factor.h"

#include <algorithm>
#include <cmath>

#include "kernels/double_products.h"

namespace hunch {
namespace {

constexpr size_t kBlock = 64;

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// The diagonal block that begins at `first`; columns before it are done with.
bool factor_block(MatView<double> A, size_t first, size_t n) {
  for (size_t j = first; j < first + n; ++j) {
    const auto done = [&](size_t i) { return std::span<const double>(A.row(i)).subspan(first, j - first); };
    const double pivot = A.row(j)[j] - dot(done(j), done(j));
    if (!(pivot > 0) || !std::isfinite(pivot)) return false;
    A.row(j)[j] = std::sqrt(pivot);
    for (size_t i = j + 1; i < first + n; ++i) A.row(i)[j] = (A.row(i)[j] - dot(done(i), done(j))) / A.row(j)[j];
  }
  return true;
}

}  // namespace

bool factor_in_place(Compute& compute, DoubleMatrix& matrix) {
  const size_t size = matrix.n;
  const MatView<double> A = matrix.view();
  for (size_t first = 0; first < size; first += kBlock) {
    compute.throw_if_stopped();
    const size_t n = std::min(kBlock, size - first), end = first + n;
    // What the columns before take away, of all rows from here on.
    const MatView<const double> before = matrix.view().col_range(0, first);
    subtract_products(compute, before.row_range(first, size - first), before.row_range(first, n),
                      A.row_range(first, size - first).col_range(first, n));
    if (!factor_block(A, first, n)) return false;
    compute.threads.parallel_for(size - end, 16, [&](size_t begin, size_t stop) {
      for (size_t i = end + begin; i < end + stop; ++i)
        for (size_t j = first; j < end; ++j) {
          const auto part = [&](size_t r) { return std::span<const double>(A.row(r)).subspan(first, j - first); };
          A.row(i)[j] = (A.row(i)[j] - dot(part(i), part(j))) / A.row(j)[j];
        }
    });
  }
  return true;
}

// Row block I of X = L^-1: X[I, J] = -L[I, I]^-1 sum over K of L[I, K] X[K, J]. X is kept transposed, so that the sums
// run along rows.
DoubleMatrix inverse_transposed(Compute& compute, const DoubleMatrix& L) {
  const size_t size = L.n;
  DoubleMatrix Y(size);
  const MatView<const double> lower = L.view();
  std::vector<double> sums(size * kBlock);
  for (size_t first = 0; first < size; first += kBlock) {
    compute.throw_if_stopped();
    const size_t n = std::min(kBlock, size - first);
    std::ranges::fill(sums, 0.0);
    const MatView<double> P(sums.data(), size, kBlock);  // [j, i of I] = -sum over k of X[k, j] L[i, k]
    for (size_t j = 0; j < first; j += kBlock) {         // X[k, j] is 0 for k < j
      const size_t n_j = std::min(kBlock, first - j);
      subtract_products(compute, std::as_const(Y).view().row_range(j, n_j).col_range(j, first - j),
                        lower.row_range(first, n).col_range(j, first - j), P.row_range(j, n_j).col_range(0, n));
    }
    compute.threads.parallel_for(first + n, 32, [&](size_t begin, size_t end) {
      for (size_t j = begin; j < end; ++j)
        for (size_t i = first; i < first + n; ++i) {  // L[I, I] x = what is there, down the block
          if (i < j) continue;
          double v = j < first ? P.row(j)[i - first] : (i == j ? 1.0 : 0.0);
          for (size_t k = first; k < i; ++k) v -= lower.row(i)[k] * Y.view().row(j)[k];
          Y.view().row(j)[i] = v / lower.row(i)[i];
        }
    });
  }
  return Y;
}

}  // namespace hunch
