#include "device/supports.h"

#include <fmt/format.h>

#include <cmath>

namespace hunch {
namespace {

std::string problem_of_attention(const LayerConfig& c, const Attention& a) {
  if (!c.has_attention()) return "a layer that mixes tokens otherwise than by attention";
  if (c.latent.rank > 0) return "latent attention";
  if (c.relative.on) return "relative positions";
  if (!c.causal) return "attention that looks ahead";
  if (!c.alibi_slopes.empty()) return "ALiBi";
  if (!a.sinks.empty()) return "attention sinks";
  if (c.clip_qkv > 0) return "clipped queries and keys";
  if (c.temperature.beta != 0) return "a temperature of queries";
  if (c.extend.on()) return "Self-Extend";
  if (c.value_norm || c.keys_as_values) return "normalised values";
  if (c.borrows_keys()) return "keys of another layer";
  if (c.output_gate) return "gated attention";
  if (c.sub_norms || c.round_inputs) return "rounded inputs";
  if (c.d_head % 4 != 0 || c.d_head > 512)
    return fmt::format("heads of {} values, expected a multiple of 4 up to 512", c.d_head);
  return "";
}

std::string problem_of_mlp(const LayerConfig& c) {
  if (c.has_experts()) return "experts";
  if (!c.has_mlp()) return "a layer without an MLP";
  if (c.gate_cutoff > -INFINITY) return "a cut-off of the gate";
  if (c.details.limit > 0 || c.details.up_offset != 0) return "a clamped MLP";
  return "";
}

std::string problem_of(const LayerConfig& c, const Layer& l) {
  if (c.n_streams > 1) return "several streams";
  if (c.norm_place != NormPlace::kPre || !c.first_norm) return "norms that do not stand before their block";
  if (c.parallel_residual) return "attention and MLP side by side";
  if (!l.post_attn_norm.empty() || !l.post_ffn_norm.empty()) return "norms behind a block";
  if (l.per_layer.gate) return "embeddings of each layer";
  if (l.output_scale != 1.0f) return "a scaled layer";
  if (std::string problem = problem_of_attention(c, l.attention); !problem.empty()) return problem;
  return problem_of_mlp(c);
}

}  // namespace

std::string unsupported_by_devices(const Model& model, size_t first_layer) {
  const ModelWeights& w = model.weights();
  if (!model.config().has_output) return "a model without logits";
  if (!model.config().final_norm) return "no norm before the logits";
  if (model.config().n_streams > 1) return "several streams";
  if (w.words_out || (w.words_in && first_layer == 0)) return "embeddings of another width than the stream";
  if (!w.type_embd.empty() && first_layer == 0) return "embeddings of types";
  if (!w.adaptive.empty()) return "a vocabulary in clusters";
  if (w.per_layer.n > 0) return "embeddings of each layer";
  for (const Layer& l : std::span(w.layers).subspan(first_layer))
    if (const std::string problem = problem_of(l.config, l); !problem.empty())
      return fmt::format("{} (layer {})", problem, l.config.index);
  return "";
}

}  // namespace hunch
