// Who watches a pass: traces, calibration, tests.
#pragma once
#include <cstdint>
#include <span>

#include "base/rows.h"
#include "base/view.h"
#include "select/selector.h"

namespace hunch {

enum class Branch : uint8_t { kAttention, kMlp };

// Which MLP an observer sees, and of which tokens.
struct MlpPlace {
  size_t layer;
  uint32_t expert = UINT32_MAX;      // LinearId::kNone: the layer's own
  std::span<const uint32_t> tokens;  // places in the step; empty: all
  bool is_dense() const { return expert == UINT32_MAX; }
};

// Sees intermediate values as they are made. Views live only during the call.
class Observer {
 public:
  virtual ~Observer() = default;
  // The residual stream that enters the layer (of several the active one); layer == n_layer: the stream before the
  // final norm (what several became together).
  virtual void on_residual(size_t layer, MatView<const float> resid) {}
  // What attention reads, [n_tokens, n_embd]: the stream before attention, normalised where the model does so.
  virtual void on_attention_input(size_t layer, MatView<const float> attn_in) {}
  // What attention works with, normalised and rotated as the model wants it: q [n_tokens, n_head * d_head],
  // k and v [n_tokens, n_kv_head * d_head] of the new tokens only; of a layer that reads another's, v has no columns.
  virtual void on_attention(size_t layer, MatView<const float> q, MatView<const float> k, MatView<const float> v) {}
  // What a selector chose at a point of the layer: of n_rows, for each of the tokens (places in the step; empty: all).
  virtual void on_rows(size_t layer, Point point, InputPart part, std::span<const uint32_t> tokens, const RowSet& rows,
                       size_t n_rows) {}
  // Head outputs before W_o, [n_tokens, n_head * d_head] (of latent attention, d_value).
  virtual void on_heads(size_t layer, MatView<const float> attn_out) {}
  // Input of an MLP and its activations act(..) (times up, where gated), [n_tokens, n_ff].
  virtual void on_mlp(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float> ff_act) {}
  // F(X) of a branch as it is about to be added, times config.residual_scale, to the stream X; both [n_tokens, n_embd].
  virtual void on_branch(size_t layer, Branch branch, MatView<const float> resid, MatView<const float> out) {}
  // Router logits [n_tokens, n_expert].
  virtual void on_router(size_t layer, MatView<const float> logits) {}
  // Input of the output projection, [n_logit_rows, n_embd_word].
  virtual void on_final(MatView<const float> final) {}
};

}  // namespace hunch
