#include "train/orthogonal.h"

#include <algorithm>
#include <cmath>

#include "kernels/ops.h"
#include "train/gradients.h"
#include "train/products.h"

namespace hunch {
namespace {

// X <- a X + (b G + c G G) X with G = X X^T. The coefficients are chosen for slope at 0, not for an exact limit.
void schulz_step(Compute& compute, MatView<float> X) {
  constexpr float a = 3.4445f, b = -4.7750f, c = 2.0315f;
  const Arena::Scope scope(compute.arena);
  const MatView<float> G = take_matrix(compute, X.rows, X.rows), P = take_matrix(compute, X.rows, X.rows),
                       more = take_matrix(compute, X.rows, X.cols);
  multiply_nt(compute, Precision::kF32, X, X, G);
  multiply_nn(compute, Precision::kF32, G, G, Into::kReplaces, P);
  for (size_t r = 0; r < P.rows; ++r) {
    scale(c, P.row(r));
    axpy(b, G.row(r), P.row(r));
  }
  multiply_nn(compute, Precision::kF32, P, X, Into::kReplaces, more);
  for (size_t r = 0; r < X.rows; ++r) {
    scale(a, X.row(r));
    add(more.row(r), X.row(r));
  }
}

}  // namespace

void orthogonalise(Compute& compute, MatView<float> X) {
  constexpr int kSteps = 5;
  const Arena::Scope scope(compute.arena);
  double squares = 0;
  for (size_t r = 0; r < X.rows; ++r)
    for (const float x : X.row(r)) squares += double(x) * x;
  if (squares == 0) return;
  MatView<float> flat = X;  // with no more rows than columns, so that G is small
  if (X.rows > X.cols) {
    flat = take_matrix(compute, X.cols, X.rows);
    transpose(compute, X, flat);
  }
  for (size_t r = 0; r < flat.rows; ++r) scale(float(1 / std::sqrt(squares)), flat.row(r));
  for (int step = 0; step < kSteps; ++step) schulz_step(compute, flat);
  if (X.rows > X.cols) transpose(compute, flat, X);
}

}  // namespace hunch
