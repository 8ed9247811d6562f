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

// Row i of one half of a matrix whose rows are gates and ups by turns: the gates (which: 0) or the ups (1), then the
// others.
std::vector<uint32_t> every_other(size_t n_both, size_t which) {
  std::vector<uint32_t> order(n_both);
  for (size_t i = 0; i < n_both; ++i)
    order[i] = uint32_t(i < n_both / 2 ? 2 * i + which : 2 * (i - n_both / 2) + 1 - which);
  return order;
}

// Of the stacked matrices of all experts, [n_expert, rows, cols], `of` each, stacked again. What is absent stays so.
template <class Of>
Tensor each_expert(HfImport& hf, const Tensor& all, const Of& of) {
  if (all.data.empty()) return all;
  if (all.shape.size() != 3)
    fail(ErrorKind::kUnsupported, "'{}' is taken apart, and hunch reads no adapter of it", all.name);
  const Tensor flat = hf.reshaped(all, {all.shape[0] * all.shape[1], all.shape[2]});
  std::vector<Tensor> experts;
  for (size_t e = 0; e < all.shape[0]; ++e) experts.push_back(of(hf.rows(flat, e * all.shape[1], all.shape[1])));
  return hf.stacked(experts);
}

Tensor take_stack(HfImport& hf, const std::string& name) {
  Tensor t = hf.take(name);
  if (!t.data.empty() && t.shape.size() != 3) fail(ErrorKind::kFormat, "tensor '{}' is no stack of matrices", name);
  return t;
}

// Weights [n_expert, n_in, n_out], as the unquantised checkpoint has them; in MXFP4 blocks [n_expert, n_out, n_in].
void import_gpt_oss_experts(HfImport& hf, const std::string& from, const std::string& to) {
  const bool blocks = hf.has(from + "gate_up_proj_blocks");
  const std::string suffix = blocks ? "_blocks" : "";
  const auto by_output = [&](const Tensor& matrix) { return blocks ? matrix : hf.turned_part(matrix); };
  const Tensor weights = take_stack(hf, from + "gate_up_proj" + suffix), biases = hf.take(from + "gate_up_proj_bias");
  if (!biases.data.empty() && biases.shape.size() != 2)
    fail(ErrorKind::kFormat, "tensor '{}gate_up_proj_bias' is no matrix", from);
  const auto half = [&](const Tensor& both, size_t which) {
    return hf.rows(hf.with_rows_in_order(both, every_other(both.shape[0], which)), 0, both.shape[0] / 2);
  };
  for (size_t which : {0, 1}) {
    const std::string name = to + (which == 0 ? "ffn_gate_exps" : "ffn_up_exps");
    hf.put(name + ".weight",
           each_expert(hf, weights, [&](const Tensor& matrix) { return half(by_output(matrix), which); }));
    const size_t n_expert = biases.shape[0], n_both = biases.shape[1];
    const Tensor columns = hf.reshaped(biases, {n_expert, n_both, 1});
    hf.put(name + ".bias",
           hf.reshaped(each_expert(hf, columns, [&](const Tensor& column) { return half(column, which); }),
                       {n_expert, n_both / 2}));
  }
  hf.put(to + "ffn_down_exps.weight", each_expert(hf, take_stack(hf, from + "down_proj" + suffix), by_output));
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
