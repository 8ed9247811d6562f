// A model as a set of capabilities. The forward pass asks for these and never for an architecture's
// name; the files in model/arch/ map each architecture's own words to them.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "select/expert_gate.h"

namespace hunch {

enum class NormKind : uint8_t { kLayer, kRms };
// Where the norms of a block stand: before attention and MLP, on the residual stream's branch; after each residual
// addition, on the stream itself (OPT-350m); or on what a branch gives, before it is added, and only there (OLMo 2).
enum class NormPlace : uint8_t { kPre, kPost, kBranch };
enum class PositionKind : uint8_t { kNone, kLearned, kSinusoidal, kRope, kAlibi };
enum class RopeScaling : uint8_t { kNone, kLinear, kDynamicNtk, kYarn, kLongRope };
// Normalisation of queries and keys before RoPE: each head on its own, with one weight vector shared by
// all heads (Qwen3) or a vector per head (Cohere, StableLM); or all heads of a token together (MPT).
enum class QkNorm : uint8_t { kNone, kShared, kPerHead, kAllHeads };

// How one vector is made of the hidden states of a text; the numbers are GGUF's "<arch>.pooling_type". kRank is no
// vector: a head scores a pair of texts by its first token.
enum class PoolingKind : uint8_t { kNone, kMean, kCls, kLast, kRank };

// Self-Extend (Jin et al. 2024, arXiv:2401.01325): keys of `window` tokens and more ago are seen at positions divided
// by `group`, nearer ones where they are.
struct SelfExtend {
  size_t group = 1, window = 0;
  bool on() const { return group > 1; }
  // By what a key is turned in the cache, a query that looks beyond the window, and the first key that a query at `m`
  // sees within it.
  size_t key_position(size_t n) const { return n / group; }
  size_t far_position(size_t m) const { return m / group + window - window / group; }
  size_t first_near(size_t m) const { return m + 1 - std::min(m + 1, window); }
};

struct RopeConfig {
  size_t n_rot = 0;          // values of each head that are rotated; the rest passes through
  double base = 10000.0;     // theta
  bool interleaved = false;  // pairs (2i, 2i+1) instead of (i, i + n_rot/2)
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;
  size_t n_ctx_original = 0;                 // context the model was first trained with (YaRN, LongRope, dynamic NTK)
  double attn_factor = 1.0;                  // multiplies cos and sin
  double long_attn_factor = 0.0;             // the same with long_factors; 0: attn_factor
  double beta_fast = 32.0, beta_slow = 1.0;  // YaRN
  bool truncate = true;                      // YaRN: the ramp begins and ends at whole dimensions
  std::vector<float> freq_factors;           // [n_rot / 2] divide the frequencies (Llama-3.1); empty = 1
  std::vector<float> long_factors, short_factors;  // LongRope, [n_rot / 2]
  SelfExtend extend;                               // of layers that see all of the past
};

struct MoeConfig {
  size_t n_expert = 0, n_expert_used = 0;  // n_expert == 0: a dense MLP
  size_t n_ff = 0;                         // of one expert
  size_t n_ff_shared = 0;                  // of the shared expert; 0 = none
  // Values that experts read and write, of which matrices of the layer make the stream's (Nemotron 3 Super); 0: the
  // stream's own.
  size_t n_latent = 0;
  size_t width(size_t n_embd) const { return n_latent > 0 ? n_latent : n_embd; }
  bool renormalise = true;  // the used experts' probabilities are made to sum to 1
  // See ExpertGateConfig.
  RouterScore score = RouterScore::kSoftmax;
  size_t n_group = 1, n_group_used = 1, group_best = 1;
  float scale = 1.0f, jitter = 0.0f;
  bool beside_mlp = false;    // the layer has a dense MLP too, and both are added (Gemma 4)
  bool early_router = false;  // it reads the stream as it enters the layer, not what the experts read (SmallThinker)

  // How the router chooses; `bias` [n_expert] or empty.
  ExpertGateConfig gate(std::span<const float> bias = {}) const {
    return {.k = n_expert_used,
            .score = score,
            .bias = bias,
            .n_group = n_group,
            .n_group_used = n_group_used,
            .group_best = group_best,
            .jitter = jitter,
            .renormalise = renormalise,
            .scale = scale};
  }
};

// What an MLP's function has beside its name.
struct ActivationDetails {
  float threshold = 0.0f;  // a ReLU lets through only what is above (ProSparse's FATReLU)
  bool relu_up = false;    // of a gated MLP: up goes through a ReLU too (Bamboo's dReLU)
  float limit = 0.0f;      // of a gated MLP: up is clamped to [-limit, limit], the gate from above; 0 = none (gpt-oss)
  float up_offset = 0.0f;  // of a gated MLP: added to up (gpt-oss)
};

// Queries are multiplied by 1 + beta * ln(1 + floor(position / n_floor)); beta 0: by 1 (Llama 4, Mistral 3).
struct QueryTemperature {
  float beta = 0.0f;
  size_t n_floor = 1;
};

// Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1): keys and values of all heads are made of
// one vector, and that is what the cache holds, behind the one key that is rotated. To the attention that is left it is
// one key head of d_head = n_rot + rank: each query is taken to the latent space, and the sum of latents out of it.
struct LatentConfig {
  size_t rank = 0;         // of keys and values; 0: attention has keys and values
  size_t rank_q = 0;       // of queries; 0: these have a matrix of their own
  size_t d_plain = 0;      // values of a query (and key) that are not rotated
  size_t d_value = 0;      // values of a head of the output
  float norm_eps = 1e-6f;  // of the norms of latents
};

// Attention that sees how far a key is behind, and a part of the past (Transformer-XL: Dai et al. 2019,
// arXiv:1901.02860). What its memory is made of, the hidden states of earlier tokens, does not change once it is there:
// their keys and values are what is kept.
struct RelativePositions {
  bool on = false;
  size_t memory = 0, segment = 0;  // tokens: see RelativeAttention
  bool same_length = false;        // every query sees `memory` tokens, itself included
  size_t clamp = 0;                // distances beyond are as this one; 0: none are
};

// What a layer takes from other tokens, and how.
enum class Mixer : uint8_t {
  kAttention,
  kNone,       // nothing: an MLP alone (Nemotron-H)
  kShortConv,  // a gated convolution over a few tokens (LFM2)
  kMamba2,     // Dao and Gu 2024, arXiv:2405.21060
  kDeltaNet,   // gated delta net: Yang et al. 2024, arXiv:2412.06464
};

// Of the mixers that keep a state. It is fed by a convolution over each channel of: values [n_head * d_head], and two
// more kinds of vectors [n_group * d_state], B and C (Mamba-2) or keys and queries (delta net). A short convolution has
// but that.
struct RecurrentConfig {
  size_t n_taps = 0;              // of the convolution, with the present token's
  size_t n_head = 0, d_head = 0;  // states, each [d_head, d_state]
  size_t n_group = 0, d_state = 0;
  bool in_turn = false;  // head h goes with group h % n_group; else n_head / n_group neighbours share one

  size_t width() const { return n_head * d_head; }
  size_t n_conv() const { return width() + 2 * n_group * d_state; }
  size_t group_of(size_t head) const { return in_turn ? head % n_group : head / (n_head / n_group); }
};

// One layer, as its blocks see it: they never ask for more.
struct LayerConfig {
  size_t index = 0, n_embd = 0;
  Mixer mixer = Mixer::kAttention;
  size_t n_streams = 1, active_stream = 0;  // more than one: AltUp (model/alt_up.h)
  NormKind norm = NormKind::kLayer;
  NormPlace norm_place = NormPlace::kPre;
  float norm_eps = 1e-5f;
  bool parallel_residual = false;
  bool first_norm = true;  // false: what stands before the first block reads the stream as it is (ModernBERT)
  float residual_scale = 1.0f;
  bool sub_norms = false;     // what o and down read is normalised first (BitNet)
  bool round_inputs = false;  // what ternary matrices read is rounded to int8, one scale a token (BitNet)
  // Attention.
  size_t n_head = 0, n_kv_head = 0, d_head = 0;
  size_t window = 0;   // tokens, its own and those before it; where not causal as many to either side; 0: all
  bool causal = true;  // false: a token sees those after it, too, and the text is read as a whole
  float attn_scale = 0.0f, attn_soft_cap = 0.0f, clip_qkv = 0.0f;
  QkNorm qk_norm = QkNorm::kNone;
  NormKind qk_norm_kind = NormKind::kRms;
  bool rotates = false, rope_interleaved = false;
  size_t rope = 0;                  // where it rotates: by which of ModelConfig's ropes
  SelfExtend extend;                // of that rope, where the layer has no window
  std::vector<float> alibi_slopes;  // [n_head], times the scale of the scores; empty: none
  QueryTemperature temperature;
  RelativePositions relative;
  LatentConfig latent;
  bool value_norm = false;      // of each head, without weights
  bool keys_as_values = false;  // the product with W_k, before its norm, is the values' too
  size_t keys_from = 0;         // the layer whose cached keys and values are read: its own, or an earlier one
  bool lends_keys = false;      // later layers read its keys
  bool output_gate = false;     // queries come with gates, and what attention found is multiplied by their sigmoid
  RecurrentConfig recurrent;    // of the mixers that have a state
  bool mixer_in_parts = false;  // this is one rank's part of the heads (model/shard.h): what it gives is to be added up
  bool elsewhere = false;       // another rank has the layer
  // MLP: dense, or experts where moe.n_expert > 0; none where n_ff is 0.
  size_t n_ff = 0;
  Activation activation = Activation::kGeluTanh;
  ActivationDetails details;
  bool gated = false;  // act(gate) * up instead of act(up)
  // Of a gated MLP: the gate counts from so many standard deviations above its mean over the neurons
  // (kernels/cut_off.h).
  float gate_cutoff = -INFINITY;
  MoeConfig moe;
  bool mlp_in_parts = false;  // this is one rank's part of the neurons

  bool has_attention() const { return mixer == Mixer::kAttention; }
  bool is_recurrent() const { return !has_attention() && mixer != Mixer::kNone; }
  bool has_experts() const { return moe.n_expert > 0; }
  bool has_mlp() const { return n_ff > 0 || has_experts(); }
  // Whether activations are exactly zero, of neurons that can be left out.
  bool makes_zeros() const { return is_relu_family(activation) || gate_cutoff > -INFINITY; }
  bool borrows_keys() const { return keys_from != index; }
  size_t n_group() const { return n_head / n_kv_head; }      // query heads that share a key head
  size_t group_width() const { return n_group() * d_head; }  // values of those
};

struct ModelConfig {
  std::string arch;  // GGUF's general.architecture; for printing and for writing files, never for deciding
  std::string name;

  size_t n_layer = 0, n_embd = 0, n_head = 0, n_kv_head = 0, d_head = 0, n_ff = 0, n_vocab = 0;
  size_t n_ctx_train = 0;
  size_t n_streams = 1, active_stream = 0;  // see LayerConfig
  size_t n_embd_word = 0;  // width of the token embedding where it is projected to n_embd (OPT-350m); else n_embd

  NormKind norm = NormKind::kLayer;
  NormPlace norm_place = NormPlace::kPre;
  float norm_eps = 1e-5f;
  bool final_norm = true;
  bool embd_norm_last = false;  // "token_embd_norm" is the name of the final norm (LFM2)

  Activation activation = Activation::kGeluTanh;
  ActivationDetails activation_details;
  bool gated = false;                            // act(gate) * up instead of act(up)
  bool parallel_residual = false;                // attention and MLP read the same stream and are added together
  bool first_norm = true;                        // of the first layer: see LayerConfig
  bool sub_norms = false, round_inputs = false;  // see LayerConfig

  std::vector<float> gate_cutoffs;  // [n_layer] see LayerConfig; empty = none

  PositionKind position = PositionKind::kLearned;
  size_t position_offset = 0;  // added to positions of a sinusoidal table (fairseq starts at 2)
  RopeConfig rope;
  std::vector<bool> rope_layers;  // [n_layer] which layers rotate; empty = all, with PositionKind::kRope
  QueryTemperature temperature;
  RelativePositions relative;
  LatentConfig latent;
  bool output_gate = false;
  std::vector<Mixer> mixers;  // [n_layer]; empty: attention in all
  RecurrentConfig recurrent;
  double alibi_max_bias = 8.0;
  float alibi_scale = 1.0f;  // Falcon scales the bias together with the scores

  float attn_scale = 0.0f;     // multiplies q.k; set by the architecture, usually 1 / sqrt(d_head)
  float attn_soft_cap = 0.0f;  // 0 = none
  float clip_qkv = 0.0f;       // clamp of q, k and v; 0 = none
  QkNorm qk_norm = QkNorm::kNone;
  NormKind qk_norm_kind = NormKind::kRms;
  bool value_norm = false;           // see LayerConfig
  std::vector<bool> keys_as_values;  // [n_layer] the same; empty = none
  size_t n_borrowing =
      0;  // of the last layers: each reads the keys of the last one before them with or without a window, as it
  size_t n_per_layer = 0;              // values that each layer gets of each token beside the stream; 0 = none
  std::vector<size_t> windows;         // [n_layer] sliding window in tokens, 0 = full attention; empty = all full
  bool causal = true;                  // LayerConfig::causal, of all layers
  bool has_output = true;              // false: there are no logits; hidden states are all that it makes
  std::optional<PoolingKind> pooling;  // how it was trained to be pooled; none: not said
  bool rank_of_mean = false;           // RankHead::of_mean

  float embedding_scale = 1.0f;
  float residual_scale = 1.0f;
  float logit_scale = 1.0f;
  float logit_soft_cap = 0.0f;

  // Where the first words of the vocabulary end that are told apart, and each cluster of others after them
  // (AdaptiveSoftmax); empty: there are none.
  std::vector<size_t> vocabulary_ends;

  MoeConfig moe;
  std::vector<bool> moe_layers;  // [n_layer] which layers have experts; empty = all, when n_expert > 0

  // The layers, which may differ: what everything that computes reads. What stands above of heads, widths and functions
  // is what most of them have, for who reads configs and for people.
  std::vector<LayerConfig> layers;     // [n_layer], by lay_out()
  std::vector<RopeConfig> more_ropes;  // numbers 1, 2, ... of LayerConfig::rope; 0 is `rope`

  size_t stream_width() const { return n_streams * n_embd; }  // of a token between layers
  size_t n_ropes() const { return 1 + more_ropes.size(); }
  const RopeConfig& rope_number(size_t i) const { return i == 0 ? rope : more_ropes[i - 1]; }
};

// Makes the layers, all as the config says of all of them, but for what `change` makes of each. Throws as validate().
void lay_out(ModelConfig& config, const std::function<void(LayerConfig&)>& change = {});

// Throws Error{kFormat} naming the field when sizes contradict each other or are absurd.
void validate(const ModelConfig& config);

// Whether heads can be left out: not where one norm spans all heads of a query or key or of what they give, all are
// made of one latent, keys are another layer's or also values, queries come with gates, or see how far keys are behind.
inline bool can_choose_heads(const LayerConfig& layer) {
  return layer.has_attention() && layer.qk_norm != QkNorm::kAllHeads && layer.latent.rank == 0 && !layer.output_gate &&
         !layer.sub_norms && !layer.borrows_keys() && !layer.lends_keys && !layer.keys_as_values && !layer.relative.on;
}
bool can_choose_heads(const ModelConfig& config);  // in all layers that have any

// Throws Error{kUnsupported} where a layer has no MLP, or with `attention` none of that: of `who`, that works on both.
void require_blocks(const ModelConfig& config, bool attention, std::string_view who);

// ALiBi slopes of n_head heads (Press et al. 2022, section 3; other head counts than powers of two as
// in the authors' code: the even positions of the next power's slopes come after).
std::vector<float> alibi_slopes(size_t n_head, double max_bias);

}  // namespace hunch
