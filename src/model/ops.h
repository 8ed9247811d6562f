// What blocks do between the products, by name and for whole matrices [n_tokens, n]: blocks index no floats.
#pragma once
#include <vector>

#include "base/compute.h"
#include "base/view.h"
#include "kernels/ops.h"
#include "model/config.h"

namespace hunch {

using Vector = std::vector<float>;  // empty where the model has none

struct NormWeights {
  Vector weight, bias;  // [n], or empty
  bool empty() const { return weight.empty(); }
};

// y = norm(x); may be the same matrix.
void norm_rows(Compute& compute, const LayerConfig& c, MatView<const float> x, const NormWeights& n, MatView<float> y);
void norm_rows(Compute& compute, NormKind kind, float eps, MatView<const float> x, const NormWeights& n,
               MatView<float> y);
// y += scale * x.
void add_rows(float scale, MatView<const float> x, MatView<float> y);
// x = act(x).
void activate_rows(Compute& compute, Activation activation, MatView<float> x);
// y *= x.
void multiply_rows(Compute& compute, MatView<const float> x, MatView<float> y);
// y = act(gate) * y.
void activate_gated_rows(Compute& compute, Activation activation, MatView<const float> gate, MatView<float> y);
void fill_rows(float value, MatView<float> y);
void copy_rows(MatView<const float> x, MatView<float> y);
// x clamped to [-limit, limit]; 0: as it is.
void clip_rows(float limit, MatView<float> x);
uint64_t count_nonzero(MatView<const float> x);

// What stands between the product and attention, for heads first_head, ... of queries or keys x [n, heads * d_head]:
// clipped, normalised and rotated as the layer wants it. cos and sin are those of x's rows.
void finish_heads(Compute& compute, const LayerConfig& c, MatView<float> x, const NormWeights& n, size_t first_head,
                  MatView<const float> cos, MatView<const float> sin);

}  // namespace hunch
