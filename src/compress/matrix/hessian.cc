#include "compress/matrix/hessian.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "compress/matrix/double_factor.h"

namespace hunch {
namespace {

constexpr double kMostDamping = 1e3;

// U from H in reversed order: P H P = L L^T, so that H = R R^T with R = P L P upper triangular, and U = R^-1. What is
// above L's diagonal does not count.
bool invert(Compute& compute, DoubleMatrix L, Matrix& U) {
  const size_t n = L.n;
  if (!factor_in_place(compute, L)) return false;
  const DoubleMatrix X = inverse_transposed(compute, L);  // (L^-1)^T
  for (size_t r = 0; r < n; ++r)
    for (size_t c = r; c < n; ++c) {
      const double u = X.values[(n - 1 - c) * n + n - 1 - r];
      if (!std::isfinite(u)) return false;
      U.values[r * n + c] = float(u);
    }
  return true;
}

}  // namespace

InverseHessian invert_hessian(const Matrix& H, const HessianOptions& options, Compute* compute) {
  const size_t n = H.rows;
  HUNCH_CHECK(n > 0 && H.cols == n && options.damping > 0, "H [{}, {}], damping {}", H.rows, H.cols, options.damping);
  for (float v : H.values)
    if (!std::isfinite(v)) fail(ErrorKind::kFormat, "the inputs of a matrix hold values that are not finite");
  InverseHessian out;
  std::vector<double> diagonal(n);
  double mean = 0;
  for (size_t i = 0; i < n; ++i) {
    diagonal[i] = H.values[i * n + i];
    if (diagonal[i] == 0) out.dead.push_back(uint32_t(i)), diagonal[i] = 1;
    mean += diagonal[i] / double(n);
  }
  out.order.resize(n);
  std::iota(out.order.begin(), out.order.end(), 0u);
  if (options.act_order)
    std::ranges::stable_sort(out.order, [&](uint32_t a, uint32_t b) { return diagonal[a] > diagonal[b]; });

  const auto at = [&](size_t i, size_t j) { return i == j ? diagonal[i] : double(H.values[i * n + j]); };
  const auto reversed = [&](double shift) {
    DoubleMatrix L(n);
    for (size_t r = 0; r < n; ++r)
      for (size_t c = 0; c <= r; ++c)
        L.values[r * n + c] = at(out.order[n - 1 - r], out.order[n - 1 - c]) + (r == c ? shift : 0);
    return L;
  };
  std::optional<Compute> own;
  Compute& used = compute ? *compute : own.emplace(1);
  out.U = Matrix(n, n);
  for (out.damping = options.damping; out.damping < kMostDamping; out.damping *= 10)
    if (invert(used, reversed(out.damping * mean), out.U)) return out;
  fail(ErrorKind::kFormat, "the second moment of a matrix' inputs cannot be factored");
}

}  // namespace hunch
