// Gemma 4: layers with and without a window differ in the width of heads, and perhaps in their number of key heads;
// norms stored as they are meant; per-layer embeddings; the last layers read the keys of earlier ones, with MLPs twice
// as wide; or experts beside the dense MLP, and layers whose keys are values too.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/low_rank_names.h"
#include "io/ordered_tensors.h"
#include "io/sparse_tensors.h"
#include "model/arch/gemma_parts.h"

namespace hunch {
namespace {

ModelConfig gemma4_config(const ModelFile& file) {
  ModelConfig c = gemma_config_with_value_norms(file);
  default_windows(file, c, 6);
  c.moe.beside_mlp = c.moe.n_expert > 0;
  if (c.n_layer >= 10000) return c;  // which is refused
  for (size_t layer = 0; layer < c.n_layer; ++layer) {
    const auto has = [&](const char* matrix) {
      const std::string name = fmt::format("blk.{}.{}", layer, matrix);
      return file.find(name + ".weight") || file.find(low_rank_u(name)) || has_sparse(file, name) ||
             has_ordered(file, name);
    };
    c.keys_as_values.push_back(has("attn_k") && !has("attn_v"));
  }
  return c;
}

// Of full layers' pairs the first part is rotated, and the others stay: their frequencies are divided by so much.
void import_proportional_rope(HfImport& hf, size_t d_head) {
  const std::string kind = hf.config_string({"rope_scaling.rope_type", "rope_scaling.type"}, "default");
  const double part = hf.config_float({"partial_rotary_factor"}, 1.0),
               factor = hf.config_float({"rope_scaling.factor"}, 1.0);
  if (kind != "proportional" && (kind != "default" || part != 1))
    fail(ErrorKind::kUnsupported, "config.json: rope of type '{}' that rotates {} of a head; known: proportional", kind,
         part);
  if (part < 0 || part > 1) fail(ErrorKind::kFormat, "config.json: partial_rotary_factor is {}, expected 0 to 1", part);
  if (kind == "default") return;
  std::vector<float> divisors(d_head / 2, 1e30f);
  std::fill_n(divisors.begin(), size_t(part * double(d_head) / 2), float(factor));
  hf.put("rope_freqs.weight", hf.from_floats(divisors, {divisors.size()}));
}

void import_gemma4_experts(HfImport& hf, const std::string& from, const std::string& to) {
  hf.move(from + "router.proj", to + "ffn_gate_inp");
  hf.put(to + "ffn_gate_inp.scale", hf.take(from + "router.scale"));
  hf.put(to + "ffn_gate_up_exps.weight", hf.take(from + "experts.gate_up_proj"));
  hf.put(to + "ffn_down_exps.weight", hf.take(from + "experts.down_proj"));
  hf.put(to + "ffn_down_exps.scale", hf.take(from + "router.per_expert_scale"));
  hf.move(from + "post_feedforward_layernorm_1", to + "post_ffw_norm_1");
  hf.move(from + "pre_feedforward_layernorm_2", to + "pre_ffw_norm_2");
  hf.move(from + "post_feedforward_layernorm_2", to + "post_ffw_norm_2");
}

// One number where all layers have the same.
void set_by_layer(HfImport& hf, std::string_view key, const std::vector<uint64_t>& values) {
  if (std::ranges::count(values, values[0]) == ptrdiff_t(values.size())) return hf.set_uint(key, values[0]);
  hf.set_uints(key, values);
}

// Key heads and MLP's widths where layers differ in them.
void import_by_layer(HfImport& hf, const LlamaLikeSizes& sizes) {
  const size_t n_borrowing = hf.config_uint({"num_kv_shared_layers"}, 0), n_ff = hf.config_uint({"intermediate_size"});
  const bool wide = hf.config_bool({"use_double_wide_mlp"}, true) && n_borrowing > 0;
  const size_t n_global = hf.config_uint({"num_global_key_value_heads"}, sizes.n_kv_head);
  const bool keys_as_values = hf.config_bool({"attention_k_eq_v"}, false);
  std::vector<uint64_t> widths, heads;
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    widths.push_back(n_ff * (wide && layer + n_borrowing >= sizes.n_layer ? 2 : 1));
    const bool full = hf.config()["layer_types"][layer] == "full_attention";
    heads.push_back(full && keys_as_values ? n_global : sizes.n_kv_head);
  }
  set_by_layer(hf, "feed_forward_length", widths);
  set_by_layer(hf, "attention.head_count_kv", heads);
}

void import_gemma4(HfImport& hf) {
  if (!hf.has_config("layer_types")) fail(ErrorKind::kNotFound, "config.json has no 'layer_types'");
  const LlamaLikeSizes sizes = import_gemma_counts(hf);
  import_by_layer(hf, sizes);
  const size_t d_full = hf.config_uint({"global_head_dim"}, sizes.d_head);
  hf.set_uint("attention.key_length", d_full);
  hf.set_uint("attention.value_length", d_full);
  hf.set_uint("attention.key_length_swa", sizes.d_head);
  hf.set_uint("attention.value_length_swa", sizes.d_head);
  hf.set_uint("rope.dimension_count", d_full);
  hf.set_uint("rope.dimension_count_swa", sizes.d_head);
  hf.set_float("rope.freq_base", hf.config_float({"rope_theta"}, 1e6));
  hf.set_float("rope.freq_base_swa", hf.config_float({"rope_local_base_freq"}, 1e4));
  import_proportional_rope(hf, d_full);
  const bool mixes = hf.config_bool({"enable_moe_block"}, false);
  if (mixes)
    import_moe_counts(hf, hf.config_uint({"num_experts"}), hf.config_uint({"top_k_experts"}),
                      hf.config_uint({"moe_intermediate_size"}));
  import_gemma_ends(hf);
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_gemma_layer(hf, layer, sizes);
    if (mixes) import_gemma4_experts(hf, from, to);
    if (hf.has(from + "layer_scalar")) hf.put(to + "layer_output_scale.weight", hf.take(from + "layer_scalar"));
  }
}

}  // namespace

const Architecture kArchGemma4 = {"gemma4", "gemma4,gemma4_text", true, gemma4_config, import_gemma4};

}  // namespace hunch
