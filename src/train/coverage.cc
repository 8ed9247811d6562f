#include "train/coverage.h"

#include <utility>

#include "base/error.h"

namespace hunch {
namespace {

// What the model has that training does not cover; nullptr: nothing.
const char* beyond(const ModelConfig& c, const ModelWeights& w) {
  if (!c.has_output || !c.causal) return "no causal output";
  if (c.n_streams > 1) return "several streams";
  if (c.n_per_layer > 0) return "embeddings per layer";
  if (w.words_in || w.words_out) return "an embedding of another width than its layers";
  if (!w.embd_norm.empty()) return "a norm of the embedding";
  if (!w.type_embd.empty()) return "embeddings of text types";
  if (c.position == PositionKind::kAlibi) return "ALiBi";
  if (c.position == PositionKind::kRope && c.rope.scaling == RopeScaling::kDynamicNtk) return "dynamic NTK";
  if (c.position == PositionKind::kRope && c.rope.scaling == RopeScaling::kLongRope) return "LongRope";
  if (!c.final_norm) return "no norm before the output";
  if (!c.vocabulary_ends.empty()) return "an adaptive softmax";
  return nullptr;
}

const char* beyond(const Layer& l) {
  const LayerConfig& c = l.config;
  if (!c.has_attention()) return "a mixer other than attention";
  if (c.latent.rank > 0) return "latent attention";
  if (c.has_experts()) return "experts";
  if (!l.mlp.up || !l.mlp.down) return "no MLP";
  if (c.norm_place != NormPlace::kPre) return "norms after its branches";
  if (c.parallel_residual) return "attention and MLP side by side";
  if (l.attn_norm.empty() != l.ffn_norm.empty()) return "one norm for both branches";
  if (c.sub_norms || c.round_inputs) return "normalised or rounded inputs of its matrices";
  if (c.clip_qkv > 0) return "clipped queries and keys";
  if (c.qk_norm == QkNorm::kPerHead || c.value_norm) return "queries, keys or values with norms of single heads";
  if (c.temperature.beta != 0) return "queries with temperatures";
  if (c.keys_as_values || c.borrows_keys() || c.lends_keys) return "keys that are shared";
  if (c.output_gate) return "a gate on what attention gives";
  if (!c.alibi_slopes.empty()) return "ALiBi";
  if (c.relative.on) return "relative positions";
  if (c.extend.on()) return "Self-Extend";
  if (!l.attention.sinks.empty()) return "attention sinks";
  if (c.details.relu_up || c.details.limit > 0 || c.details.up_offset != 0) return "an MLP whose up is changed";
  if (c.gate_cutoff > -INFINITY) return "a cut-off gate";
  if (l.per_layer.gate || l.laurel.left || l.output_scale != 1.0f) return "more than attention and an MLP";
  return nullptr;
}

}  // namespace

void require_trainable(const Model& model) {
  const ModelConfig& c = model.config();
  const char* what = beyond(c, std::as_const(model).weights());
  size_t layer = 0;
  for (; !what && layer < c.n_layer; ++layer) what = beyond(std::as_const(model).weights().layers[layer]);
  if (!what) return;
  fail(ErrorKind::kUnsupported,
       "hunch train does not cover {} models with {}{}: it trains dense blocks as Llama and OPT have them", c.arch,
       what, layer > 0 ? fmt::format(" (layer {})", layer - 1) : "");
}

}  // namespace hunch
