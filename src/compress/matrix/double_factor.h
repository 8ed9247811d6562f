// Factors of symmetric matrices in double precision, blocked: nearly all of the work is products of matrices.
#pragma once
#include <optional>
#include <vector>

#include "base/compute.h"
#include "base/view.h"

namespace hunch {

struct DoubleMatrix {
  size_t n = 0;
  std::vector<double> values;  // [n * n]

  explicit DoubleMatrix(size_t n = 0) : n(n), values(n * n) {}
  MatView<double> view() { return {values.data(), n, n}; }
  MatView<const double> view() const { return {values.data(), n, n}; }
};

// A becomes L, lower triangular with L L^T = A; only A's lower triangle is read, and what is above is left as it is.
// Whether there is one: all pivots are positive numbers.
bool factor_in_place(Compute& compute, DoubleMatrix& A);

// (L^-1)^T of a lower triangular L with a positive diagonal: upper triangular, zeros below.
DoubleMatrix inverse_transposed(Compute& compute, const DoubleMatrix& L);

}  // namespace hunch
