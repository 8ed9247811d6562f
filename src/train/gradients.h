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

// Turns each head by the angles of its row, as finish_heads() does, or (`direction` -1) back: the gradient of a
// rotation is the rotation by the negative angle. x [n_tokens, n_head * d_head] in place.
void rotate_heads(Compute& compute, const LayerConfig& c, const Rotation& rotation, float direction, MatView<float> x);

// y = cap * tanh(x / cap): d, of y, becomes that of x.
void soft_cap_gradient(float cap, std::span<const float> y, std::span<float> d);

// What reaches rounded weights, `d`, to that of the weights: 0 outside of [bounds.low, bounds.high], and as it is
// inside (the straight-through estimate). Returns the gradient of `scale`, to which the bounds and the steps of the
// rounding are proportional: sum of d * (rounded - w) / scale inside, of d * rounded / scale outside (LSQ: Esser et al.
// 2020, arXiv:1902.08153, equation 3).
struct RoundingBounds {
  float low, high;
};
float rounding_gradient(std::span<const float> w, std::span<const float> rounded, RoundingBounds bounds, float scale,
                        std::span<float> d);

// sum[i] += sum over rows of x[:, i], rows in their order.
void add_column_sums(Compute& compute, MatView<const float> x, std::span<float> sum);

// to [from.cols, from.rows] becomes the transpose.
void transpose(Compute& compute, MatView<const float> from, MatView<float> to);

}  // namespace hunch
