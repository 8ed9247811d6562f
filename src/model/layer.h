// The blocks of a layer: attention, MLP, experts. Each knows its matrices and its part of the config, and computes
// itself.
#pragma once
#include <memory>
#include <vector>

#include "kernels/attention.h"
#include "linear/linear.h"
#include "model/alt_up.h"
#include "model/ops.h"
#include "model/per_layer_embedding.h"
#include "model/recurrent.h"
#include "model/step.h"

namespace hunch {

// LLaMA's and OPT's MLP in every way to leave parts of it out: act(gate) * up, or act(up) without a gate, then down.
struct Mlp {
  size_t n_ff = 0;                         // 0: the layer has none
  std::unique_ptr<Linear> up, gate, down;  // gate: none where the model has none
  NormWeights sub_norm;                    // [n_ff] or empty: of what down reads

  // x, y [g.size(), n_embd]; y is written.
  void operator()(Step& s, const LayerConfig& c, const TokenGroup& g, MatView<const float> x, MatView<float> y) const;

  template <class Each>
  void for_each_linear(const Each& each) {
    for (auto* linear : {&gate, &up, &down})
      if (*linear) each(*linear);
  }

 private:
  struct Choices {
    RowSet inputs, neurons, live, read;
  };
  void count(Step& s, const LayerConfig& c, const TokenGroup& g, const Choices& chosen, MatView<const float> act) const;
  // `neurons`, of prompts that compute a part of them what each block uses.
  RowSet of_prompts(Step& s, const LayerConfig& c, const TokenGroup& g, MatView<const float> x, RowSet neurons) const;
};

// A router that gives each token to some of the layer's experts, and perhaps one that all tokens share.
struct Experts {
  std::unique_ptr<Linear> router;  // [n_expert, n_embd]
  Vector choice_bias;              // [n_expert] or empty: added to the scores to choose by
  std::vector<Mlp> experts;
  Vector factors;  // [n_expert] or empty: of the experts' weights, after the router's choice
  // Where experts read and write few values: [n_latent, n_embd] of what they read, [n_embd, n_latent] of their sum.
  std::unique_ptr<Linear> latent_in, latent_out;
  Mlp shared;
  std::unique_ptr<Linear> shared_gate;  // [1, n_embd]: its sigmoid scales the shared expert; none: 1

  // `router_x`: what the router reads.
  void operator()(Step& s, const LayerConfig& c, MatView<const float> router_x, MatView<const float> x,
                  MatView<float> y) const;

  template <class Each>
  void for_each_linear(const Each& each) {
    if (router) each(router);
    for (Mlp& expert : experts) expert.for_each_linear(each);
    for (auto* latent : {&latent_in, &latent_out})
      if (*latent) each(*latent);
    shared.for_each_linear(each);
    if (shared_gate) each(shared_gate);
  }
};

// The matrices of multi-head latent attention beside W_o, and q where queries have a matrix of their own.
struct LatentMatrices {
  std::unique_ptr<Linear> q_down, q_up;             // [rank_q, n_embd], [n_head * (d_plain + n_rot), rank_q]
  std::unique_ptr<Linear> kv;                       // [rank + n_rot, n_embd], the latent first
  NormWeights q_norm, kv_norm;                      // [rank_q], [rank]
  std::vector<std::unique_ptr<Linear>> key, value;  // [n_head] of [rank, d_plain], [d_value, rank]

  template <class Each>
  void for_each_linear(const Each& each) {
    for (auto* linear : {&q_down, &q_up, &kv})
      if (*linear) each(*linear);
    for (auto* heads : {&key, &value})
      for (std::unique_ptr<Linear>& linear : *heads) each(linear);
  }
};

struct Attention {
  std::unique_ptr<Linear> q, k, v, o;  // of latent attention only o, and perhaps q; k and v as LayerConfig says
  LatentMatrices latent;
  NormWeights q_norm, k_norm;  // [d_head], or [n_head * d_head] per head or over all heads
  NormWeights sub_norm;        // [n_head * d_head] or empty: of what o reads
  Vector sinks;                // [n_head] or empty: see AttentionParams
  // Of relative positions: [n_head * d_head] each, and a row for every distance (model/relative_positions.h).
  Vector content_bias, position_bias, distances;

  // x, y [n_tokens of the step, n_embd]; y is written. The new tokens' keys and values go into the cache.
  void operator()(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const;

  template <class Each>
  void for_each_linear(const Each& each) {
    for (auto* linear : {&q, &k, &v, &o})
      if (*linear) each(*linear);
    latent.for_each_linear(each);
  }

 private:
  // Keys and values of tokens [first, first + k.rows) of one KV head, computed later than the tokens.
  struct LateKeys {
    size_t head, first;
    MatView<float> k, v;
  };
  // model/attention.cc
  AttentionParams params(const LayerConfig& c, bool spans_as_alone) const;
  void whole(Step& s, const LayerConfig& c, MatView<const float> x, RowSet groups, MatView<float> y) const;
  // model/relative_positions.cc
  void attend_relative(Step& s, const LayerConfig& c, MatView<const float> queries,
                       std::span<const AttentionSpan> spans, MatView<float> heads) const;
  // model/latent_attention.cc
  void project_latent(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> queries,
                      MatView<float> keys) const;
  MatView<float> values_of_latents(Step& s, const LayerConfig& c, MatView<const float> heads) const;
  void store_keys(Step& s, const LayerConfig& c, MatView<float> k, MatView<float> v) const;
  MatView<const float> borrowed_keys(Step& s, const LayerConfig& c) const;
  // model/attention_heads.cc: a few tokens with groups of heads of their own
  void chosen(Step& s, const LayerConfig& c, MatView<const float> x, RowSet groups, MatView<float> y) const;
  void attend_chosen(Step& s, const LayerConfig& c, size_t run, size_t token, const Rows& groups, MatView<float> q,
                     MatView<float> heads) const;
  // model/late_keys.cc
  void complete_keys(Step& s, const LayerConfig& c) const;
  void project_lazily(Step& s, const LayerConfig& c, size_t run, size_t token, MatView<const float> x,
                      const Rows& groups, MatView<float> q) const;
  void finish_late_keys(Step& s, const LayerConfig& c, KvCache::SequenceId sequence, const LateKeys& late) const;
};

// Norms of a dense MLP and experts that stand side by side; the router's weights have its own scale in them.
struct BesideNorms {
  NormWeights mlp_output, router, input, output;  // [n_embd] each; the last two are the experts'
};

struct Layer {
  LayerConfig config;
  NormWeights attn_norm, ffn_norm;            // ffn_norm empty: the MLP reads what attention reads
  NormWeights post_attn_norm, post_ffn_norm;  // on the branch, before the residual addition (Gemma-2)
  Attention attention;                        // where it is the mixer, as are the next three
  ShortConv short_conv;
  Mamba2 mamba2;
  DeltaNet delta_net;
  Mlp mlp;          // dense layers
  Experts experts;  // the others, and those that have both
  BesideNorms beside;
  PerLayerInput per_layer;
  AltUp alt_up;               // of models with several streams
  Laurel laurel;              // the same
  float output_scale = 1.0f;  // of the stream as it leaves the layer

  // What the layer takes from other tokens: x, y [n_tokens of the step, n_embd]; y is written. Not for Mixer::kNone.
  void mix(Step& s, MatView<const float> x, MatView<float> y) const;
  // The MLP, or the first of the experts, whose matrices stand for those of its siblings where types are told.
  const Mlp& any_mlp() const { return mlp.up || experts.experts.empty() ? mlp : experts.experts[0]; }

  // each(std::unique_ptr<Linear>&) for every matrix: the one way to load, count, calibrate, quantise, adapt and
  // inspect.
  template <class Each>
  void for_each_linear(const Each& each) {
    attention.for_each_linear(each);
    short_conv.for_each_linear(each);
    mamba2.for_each_linear(each);
    delta_net.for_each_linear(each);
    mlp.for_each_linear(each);
    experts.for_each_linear(each);
    per_layer.for_each_linear(each);
    laurel.for_each_linear(each);
  }
  // The layer of a model with several streams: all of it (model/alt_up_layer.cc).
  void in_streams(Step& s, MatView<float> streams) const;
  // The layer's branch where moe.beside_mlp: x is what the MLP reads, `stream` what router and experts normalise.
  void mlp_beside_experts(Step& s, MatView<const float> stream, MatView<const float> x, MatView<float> y) const;

  template <class Each>
  void for_each_linear(const Each& each) const {
    const_cast<Layer*>(this)->for_each_linear([&](std::unique_ptr<Linear>& linear) { each(std::as_const(*linear)); });
  }
};

}  // namespace hunch
