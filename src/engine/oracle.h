// The two-pass oracle of Deja Vu (Liu et al. 2023, section 3.1): the first pass records which neurons
// and heads have large output norms, the second computes with only those. It bounds what a predictor
// can reach; it saves nothing itself.
#pragma once
#include <vector>

#include "model/transformer.h"

namespace hunch {

// ||W_down[:, k]|| for every neuron k, [n_ff]: times |activation|, the norm of what the neuron adds to the stream.
std::vector<float> neuron_norms(Compute& compute, const Linear& down);

// Watches a dense pass and chooses, per token and layer, ceil(density * n) neurons by
// |activation| * ||row of W_down|| and ceil(head_density * n_head) heads by the norm of their output.
class OracleRecorder : public Observer {
 public:
  OracleRecorder(Compute& compute, const Model& model, double density, double head_density);
  void begin(size_t n_tokens);
  void on_heads(size_t layer, MatView<const float> attn_out) override;
  void on_mlp(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float> ff_act) override;
  // What was chosen for the run's tokens, and nothing that is exactly zero. Valid until begin().
  const Plan& plan() const { return plan_; }

 private:
  const ModelConfig& c_;
  double density_, head_density_;
  std::vector<std::vector<float>> down_norm_;       // [n_layer][n_ff]
  std::vector<std::vector<Rows>> neurons_, heads_;  // [n_layer][n_tokens]
  Plan plan_;
  std::vector<float> score_;
};

}  // namespace hunch
