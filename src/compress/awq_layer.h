// AWQ's scales of one layer: found through the block itself, folded into what stands before each matrix.
#pragma once
#include <map>
#include <span>

#include "compress/block_walk.h"
#include "compress/input_moments.h"
#include "compress/matrix/awq.h"
#include "model/layer.h"

namespace hunch {

// Inputs of a layer's matrices divided by scales that the matrices are multiplied by: the same function.
struct LayerScaling {
  std::map<Role, std::vector<float>> by_input;   // W[:, c] *= s[c]
  std::map<Role, std::vector<float>> by_output;  // W[r, :] and the bias /= s[r]
  std::vector<float> attn_norm, ffn_norm;        // weight and bias are divided by these; empty: they stay
};

struct AwqRounding {
  RoundWeights round;
  bool duo = false;  // AutoAWQ's scales, which see weights too
  size_t group = 0;  // with duo: that share a scale
};

// The scales of least squared error: of q, k and v together at attention's output, of gate and up at the MLP's, of W_o
// and the down projection at their own. The engine's model is the same afterwards. What cannot be folded is left as it
// is: where no norm stands right before, MLPs with experts, a norm that several read (parallel residual), grouped or
// normalised values before W_o, a function that is not linear in its up projection.
//
// `windows` of the walk, which stands at the layer. Throws Error{kInterrupted}.
LayerScaling search_layer_scaling(const Engine& engine, BlockWalk& walk, std::span<const size_t> windows,
                                  const InputMoments& moments, const AwqRounding& rounding);

// Whether a norm stands right before q, k and v, or gate and up, that nobody else reads.
struct NormFed {
  bool attention = false, mlp = false;
};
NormFed fed_by_norms(const Layer& layer);

void scale_matrix(const LayerScaling& scaling, Role role, Matrix& W);
// M of inputs that were divided.
Matrix scaled_moment(const LayerScaling& scaling, Role role, const Matrix& M);

}  // namespace hunch
