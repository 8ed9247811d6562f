// What a model's heads did on a text: the evidence that head predictors are fitted to.
#pragma once
#include <vector>

#include "base/half.h"
#include "compress/linear_algebra.h"
#include "engine/generate.h"
#include "model/plan.h"

namespace hunch {

// ||W_o[:, g] x_g||^2 of every group g of heads: how far each moves the stream. By Gram matrices of the columns of W_o,
// which costs a share 1 / n_groups of the product itself.
class GroupNorms {
 public:
  GroupNorms(Compute& compute, const WeightView& W_o, size_t n_groups);
  // attn_out [n_tokens, n_head * d_head], before W_o; squared [n_tokens, n_groups], written.
  void squared(Compute& compute, MatView<const float> attn_out, MatView<float> squared) const;

 private:
  std::vector<Matrix> gram_;  // [n_groups] of [width, width]
};

// One layer.
struct HeadTrace {
  size_t layer = 0, n_embd = 0, n_groups = 0, n_tokens = 0;
  std::vector<f16> input;  // [n_tokens, n_embd] what the predictor will read
  std::vector<float>
      share;  // [n_tokens, n_groups] of the token's sum of squared contributions; they sum to 1 (or are 0)

  std::span<const float> shares(size_t token) const { return std::span(share).subspan(token * n_groups, n_groups); }
  // Tokens [first, first + out.rows) of the input as f32.
  void read(size_t first, MatView<float> out) const;
};

size_t head_trace_bytes_per_token(const ModelConfig& config);

// Watches a dense pass. Layers [first_layer, first_layer + n_layers); layer 0 has no input with kPreviousAttention,
// and its trace stays empty. Throws Error{kFormat} out of the pass where a head's output is not finite.
class HeadRecorder : public Observer {
 public:
  HeadRecorder(const Engine& engine, Look input, size_t first_layer, size_t n_layers, size_t n_tokens);
  void on_attention_input(size_t layer, MatView<const float> x) override;
  void on_heads(size_t layer, MatView<const float> attn_out) override;
  std::vector<HeadTrace> take() { return std::move(traces_); }

 private:
  HeadTrace* trace_of(size_t layer);

  Compute& compute_;
  Look input_;
  size_t first_layer_;
  std::vector<HeadTrace> traces_;
  std::vector<GroupNorms> norms_;
};

}  // namespace hunch
