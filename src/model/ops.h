// What blocks do between the products, by name and for whole matrices [n_tokens, n]: blocks index no floats.
#pragma once
#include <vector>

#include "base/compute.h"
#include "base/view.h"
#include "kernels/ops.h"
#include "model/config.h"

namespace hunch {

using Vector = std::vector<float>;  // empty where the model has none

// By what queries and keys are rotated: cos and sin [n, n_pairs] of so many positions; none where a layer rotates
// nothing.
struct Rotation {
  MatView<const float> cos, sin;
  Rotation row(size_t i) const { return cos.data ? Rotation{cos.row_range(i, 1), sin.row_range(i, 1)} : *this; }
};

struct NormWeights {
  Vector weight, bias;  // [n], or empty
  bool empty() const { return weight.empty(); }
};

// y = norm(x); may be the same matrix.
void norm_rows(Compute& compute, const LayerConfig& c, MatView<const float> x, const NormWeights& n, MatView<float> y);
void norm_rows(Compute& compute, NormKind kind, float eps, MatView<const float> x, const NormWeights& n,
               MatView<float> y);
// y += scale * x.
void add_rows(Compute& compute, float scale, MatView<const float> x, MatView<float> y);
// x = act(x) of a layer's MLP, with what its function has beside its name.
void activate_rows(Compute& compute, const LayerConfig& c, MatView<float> x);
// y *= what becomes of up in a gated MLP; `ups` may change.
void multiply_rows(Compute& compute, const LayerConfig& c, MatView<float> ups, MatView<float> y);
// Both after each other, a row at a time, in half the traffic.
void activate_and_multiply_rows(Compute& compute, const LayerConfig& c, MatView<float> ups, MatView<float> y);
// y += sigmoid(gates) * x, gates [n_tokens, 1].
void add_gated_rows(MatView<const float> gates, MatView<const float> x, MatView<float> y);
// y *= sigmoid(gates); y *= gates * sigmoid(gates). gates and y alike; `gates` may change.
void multiply_by_sigmoid(Compute& compute, MatView<float> gates, MatView<float> y);
void multiply_by_silu(Compute& compute, MatView<float> gates, MatView<float> y);
// Heads [first | second] of 2 * d_head values each, apart: x [n, 2 * n_head * d_head], the others [n, n_head * d_head].
void split_heads(MatView<const float> x, size_t d_head, MatView<float> first, MatView<float> second);
void fill_rows(float value, MatView<float> y);
void copy_rows(MatView<const float> x, MatView<float> y);
// to[i] = from[i] for the chosen entries.
void copy_chosen(const Rows& rows, std::span<const float> from, std::span<float> to);
// x clamped to [-limit, limit]; 0: as it is.
void clip_rows(float limit, MatView<float> x);
uint64_t count_nonzero(MatView<const float> x);

// What stands between the product and attention, for heads first_head, ... of queries or keys x [n, heads * d_head]:
// clipped, normalised and rotated as the layer wants it; `rotation` is that of x's rows.
void finish_heads(Compute& compute, const LayerConfig& c, MatView<float> x, const NormWeights& n, size_t first_head,
                  const Rotation& rotation);
// The same of values x [n, heads * d_head]: clipped, and each head normalised where the layer does so.
void finish_values(Compute& compute, const LayerConfig& c, MatView<float> x);

}  // namespace hunch
