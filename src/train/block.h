// A block of the model, forward and backward. Nothing is kept of the forward pass: on the way back it is computed again
// from what entered the block (Chen et al. 2016, arXiv:1604.06174), so that memory holds one block's values at a time.
#pragma once
#include <memory>

#include "model/layer.h"
#include "model/rope_table.h"
#include "train/causal_attention.h"
#include "train/projection.h"

namespace hunch {

// A norm of the model, with weights of its own where they are trained.
struct TrainedNorm {
  const NormWeights* model = nullptr;
  Parameter *weight = nullptr, *bias = nullptr;

  bool is_there() const { return model && !model->empty(); }
  // Trains copies of what the model has, where it has any. `name` is the tensor's without ".weight".
  void train(Parameters& parameters, size_t layer, const std::string& name);
  // y = norm(x), written.
  void forward(Compute& compute, NormKind kind, float eps, MatView<const float> x, MatView<float> y) const;
  // dx += what of dy reaches x.
  void backward(Compute& compute, NormKind kind, float eps, MatView<const float> x, MatView<const float> dy,
                MatView<float> dx) const;

 private:
  std::span<const float> weights() const { return weight ? weight->values() : std::span<const float>(model->weight); }
  std::span<const float> biases() const { return bias ? bias->values() : std::span<const float>(model->bias); }
};

struct TrainedBlock {
  // `layer` outlives this and is one that training covers (train/coverage.h).
  explicit TrainedBlock(const Layer& layer);

  const LayerConfig& config;
  TrainedNorm attn_norm, ffn_norm;
  // Of queries and keys before they are turned, and of what a branch gives before it is added; without `model` where
  // the layer has none.
  TrainedNorm q_norm, k_norm, post_attn_norm, post_ffn_norm;
  Projection q, k, v, o, up, down;
  std::unique_ptr<Projection> gate;  // of an MLP that has one

  // Keys and values before every sequence (prefix tuning), [n, n_kv_head * d_head]; or none.
  Parameter *prefix_keys = nullptr, *prefix_values = nullptr;

  // The function of the MLP: the model's, or one that it is to get used to.
  Activation activation;
  float threshold;  // of a ReLU (FATReLU)
  float l1 =
      0;  // weight of the sum of absolute activations in the loss (ProSparse: Song et al. 2024, arXiv:2402.13516)

  template <class Each>
  void for_each_projection(const Each& each) {
    for (Projection* p : {&q, &k, &v, &o, gate.get(), &up, &down})
      if (p) each(*p);
  }

  // What the tokens' positions turn queries and keys by: cos and sin [shape.n_rows(), n_pairs], or none.
  struct Pass {
    Compute& compute;
    const SoloComputes& solo;
    Precision precision;
    const SequenceShape& shape;
    Rotation rotation;
    AttentionPass attention() const { return {compute, solo, precision}; }
  };
  // `stream` [n_rows, n_embd] goes through the block, in place.
  void forward(const Pass& pass, MatView<float> stream) const;
  // Keys, normalised but not turned, and values that the block has of `stream`: K, V [n_rows, n_kv_head * d_head].
  void begin_prefix(const Pass& pass, MatView<const float> stream, MatView<float> K, MatView<float> V) const;
  // `entering` is what stream was before forward(); `d_stream` is the loss's gradient of what left the block, and
  // becomes that of what entered it. Gradients of parameters are added to.
  void backward(const Pass& pass, MatView<const float> entering, MatView<float> d_stream) const;

 private:
  struct Values;  // of a forward pass, in the arena
  Values attend(const Pass& pass, MatView<const float> stream) const;
  void finish_heads_of(const Pass& pass, const TrainedNorm& norm, MatView<float> x) const;
  void finish_heads_backward(const Pass& pass, const TrainedNorm& norm, MatView<const float> raw,
                             MatView<float> d) const;
  MatView<float> after_prefix(const Pass& pass, const Parameter& prefix, MatView<const float> rows) const;
  MatView<float> without_prefix(const Pass& pass, const Parameter& prefix, MatView<const float> d) const;
  void add_branch(const Pass& pass, const TrainedNorm& post, MatView<float> branch, MatView<float> stream) const;
  MatView<float> branch_gradient(const Pass& pass, const TrainedNorm& post, MatView<const float> raw,
                                 MatView<const float> d_stream) const;
  void compute_mlp(const Pass& pass, MatView<const float> normed, Values& values) const;
  void mlp_backward(const Pass& pass, const Values& values, MatView<const float> middle, MatView<float> d_stream) const;
  void attention_backward(const Pass& pass, const Values& values, MatView<const float> entering,
                          MatView<float> d_stream) const;
};

}  // namespace hunch
