// The other half of what blocks do between the products: from the gradient of an operator's result to that of what it
// read. Rows are tokens; sums over tokens are taken in their order, whatever the number of threads.
#pragma once
#include <span>

#include "base/compute.h"
#include "base/view.h"
#include "model/config.h"
#include "model/ops.h"

namespace hunch {

// y = act(x): dx = dy * act'(x) at the x that activate() reads; dx may be dy. `threshold` as activate()'s.
void activate_gradient(Activation activation, float threshold, std::span<const float> x, std::span<const float> dy,
                       std::span<float> dx);

// y = norm(x) * weight + bias (norm_rows): dx += what reaches x; d_weight and d_bias [n] are added to, or empty.
//
//   x, dy, dx [n_tokens, n]   weight, bias [n], or empty
void norm_gradient(Compute& compute, NormKind kind, float eps, MatView<const float> x, std::span<const float> weight,
                   MatView<const float> dy, MatView<float> dx, std::span<float> d_weight, std::span<float> d_bias);

// Turns back what rope() turned: the gradient of a rotation by an angle is a rotation by its negative. cos and sin of
// each row as finish_heads() has them; x [n_tokens, n_head * d_head] in place.
void rope_gradient(Compute& compute, const LayerConfig& c, const Rotation& rotation, MatView<float> x);

// sum[i] += sum over rows of x[:, i], rows in their order.
void add_column_sums(Compute& compute, MatView<const float> x, std::span<float> sum);

// to [from.cols, from.rows] becomes the transpose.
void transpose(Compute& compute, MatView<const float> from, MatView<float> to);

}  // namespace hunch
