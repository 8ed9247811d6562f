#include "compress/matrix/hessian.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace hunch {
namespace {

using Dense = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;

constexpr double kMostDamping = 1e3;

// U from H in reversed order: P H P = L L^T, so that H = R R^T with R = P L P upper triangular, and U = R^-1.
bool invert(const Dense& reversed, double shift, Matrix& U) {
  const Eigen::Index n = reversed.rows();
  Dense L = reversed;
  L.diagonal().array() += shift;
  const Eigen::LLT<Eigen::Ref<Dense>> factor(L);  // in place
  if (factor.info() != Eigen::Success) return false;
  Dense inverse = Dense::Identity(n, n);
  factor.matrixL().solveInPlace(inverse);
  for (Eigen::Index r = 0; r < n; ++r)
    for (Eigen::Index c = r; c < n; ++c) {
      const double u = inverse(n - 1 - r, n - 1 - c);
      if (!std::isfinite(u)) return false;
      U.values[size_t(r * n + c)] = float(u);
    }
  return true;
}

}  // namespace

InverseHessian invert_hessian(const Matrix& H, const HessianOptions& options) {
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
  Dense reversed{Eigen::Index(n), Eigen::Index(n)};
  for (size_t c = 0; c < n; ++c)
    for (size_t r = 0; r < n; ++r)
      reversed(Eigen::Index(r), Eigen::Index(c)) = at(out.order[n - 1 - r], out.order[n - 1 - c]);
  out.U = Matrix(n, n);
  for (out.damping = options.damping; out.damping < kMostDamping; out.damping *= 10)
    if (invert(reversed, out.damping * mean, out.U)) return out;
  fail(ErrorKind::kFormat, "the second moment of a matrix' inputs cannot be factored");
}

}  // namespace hunch
