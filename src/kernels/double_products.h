// Products of matrices of doubles, for who fits weights: where f32 would decide otherwise.
#pragma once
#include "base/compute.h"
#include "base/view.h"

namespace hunch {

// C[i, j] -= dot(A[i, :], B[j, :]). Sums are of k in an order that depends on the target and on k alone.
//
//   A [m, k]   B [n, k]   C [m, n]; rows may be strided, C may overlap neither A nor B
void subtract_products(Compute& compute, MatView<const double> A, MatView<const double> B, MatView<double> C);

namespace ref {
void subtract_products(MatView<const double> A, MatView<const double> B, MatView<double> C);
}  // namespace ref
}  // namespace hunch
