// gpt-oss: a sink beside the keys of every head, windows on every other layer, biases everywhere, and experts of a
// clamped SwiGLU, min(g, limit) sigmoid(1.702 g) (clamp(u) + 1).
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig gpt_oss_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluQuick);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.activation_details.up_offset = 1;
  if (!file.meta.has("gpt-oss.activation_limit")) c.activation_details.limit = 7;
  // llama.cpp's files have no key for it; the published checkpoints say false.
  c.rope.truncate = file.meta.get_bool("gpt-oss.rope.scaling.yarn_truncate", false);
  default_windows(file, c, 2);
  return c;
}

// The gates (which: 0) or ups (1) of all experts, whose columns alternate, [n_expert, n_embd, 2 n_ff], or of their
// biases, [n_expert, 2 n_ff].
Tensor every_other(HfImport& hf, const Tensor& both, size_t which) {
  const size_t n_expert = both.shape[0], n_both = both.shape.back(), n_in = both.shape.size() == 3 ? both.shape[1] : 1;
  const Tensor flat = hf.reshaped(both, {n_expert * n_in, n_both});
  std::vector<uint32_t> order(n_both);  // one half, then the other
  for (size_t i = 0; i < n_both; ++i)
    order[i] = uint32_t(i < n_both / 2 ? 2 * i + which : 2 * (i - n_both / 2) + 1 - which);
  std::vector<Tensor> experts;
  for (size_t e = 0; e < n_expert; ++e) {
    const Tensor by_row = hf.turned_part(hf.rows(flat, e * n_in, n_in));  // [2 n_ff, n_in]
    experts.push_back(hf.rows(hf.with_rows_in_order(by_row, order), 0, n_both / 2));
  }
  const Tensor all = hf.stacked(experts);
  return both.shape.size() == 3 ? all : hf.reshaped(all, {n_expert, n_both / 2});
}

void import_gpt_oss_experts(HfImport& hf, const std::string& from, const std::string& to) {
  const Tensor weights = hf.take(from + "gate_up_proj"), biases = hf.take(from + "gate_up_proj_bias");
  for (const Tensor* t : {&weights, &biases})
    if (t->shape.empty()) fail(ErrorKind::kFormat, "tensor '{}' is a single number", t->name);
  for (size_t which : {0, 1}) {
    const std::string name = to + (which == 0 ? "ffn_gate_exps" : "ffn_up_exps");
    hf.put(name + ".weight", every_other(hf, weights, which));
    hf.put(name + ".bias", every_other(hf, biases, which));
  }
  const Tensor down = hf.take(from + "down_proj");  // [n_expert, n_ff, n_embd]
  if (!down.data.empty() && down.shape.size() != 3)
    fail(ErrorKind::kFormat, "tensor '{}' is no stack of matrices", down.name);
  const Tensor flat = hf.reshaped(down, {down.shape[0] * down.shape[1], down.shape.back()});
  std::vector<Tensor> experts;
  for (size_t e = 0; e < down.shape[0]; ++e)
    experts.push_back(hf.turned_part(hf.rows(flat, e * down.shape[1], down.shape[1])));
  hf.put(to + "ffn_down_exps.weight", hf.stacked(experts));
  hf.put(to + "ffn_down_exps.bias", hf.take(from + "down_proj_bias"));
}

void import_gpt_oss(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");  // which the code does not look at
  import_moe_counts(hf, hf.config_uint({"num_local_experts"}),
                    hf.config_uint({"num_experts_per_tok", "experts_per_token"}),
                    hf.config_uint({"intermediate_size"}));
  for (const char* key : {"experts_per_token", "initial_context_length"}) hf.ignore_config(key);  // said twice
  hf.set_float("activation_limit", hf.config_float({"swiglu_limit"}, 7.0));
  hf.set_bool("rope.scaling.yarn_truncate", hf.config_bool({"rope_scaling.truncate"}, true));
  import_llama_like_ends(hf, {});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, {});
    hf.put(to + "attn_sinks.weight", hf.take(from + "self_attn.sinks"));
    hf.move(from + "post_attention_layernorm", to + "post_attention_norm");
    hf.move(from + "mlp.router", to + "ffn_gate_inp");
    import_gpt_oss_experts(hf, from + "mlp.experts.", to);
  }
}

}  // namespace

const Architecture kArchGptOss = {"gpt-oss", "gpt_oss", true, gpt_oss_config, import_gpt_oss};

}  // namespace hunch
