// MPT (MosaicML 2023) and Replit-code: ALiBi, no biases, q, k and v in one product whose values may be
// clamped. Variants: learned positions where ALiBi is off, a norm over all query and all key values
// (qk_ln), grouped or single key and value heads, biases, an own softmax scale, scaled logits.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/architecture.h"

namespace hunch {
namespace {

// AWQ (Lin et al. 2023) divides the activation of some published MPTs by a scale per neuron. Without it the output
// would be nonsense.
[[noreturn]] void refuse_scaled_activation(std::string_view tensor) {
  fail(ErrorKind::kUnsupported,
       "tensor '{}': this MPT was prepared by AWQ, which scales the MLP's activation; hunch runs MPT without such "
       "scales: take the original model and `hunch quantize` it",
       tensor);
}

ModelConfig mpt_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluErf);
  for (const Tensor& t : file.tensors)
    if (t.name.ends_with(".ffn.act.scales")) refuse_scaled_activation(t.name);
  if (file.find("position_embd.weight")) {
    c.position = PositionKind::kLearned;
  } else {
    c.position = c.alibi_max_bias > 0 ? PositionKind::kAlibi : PositionKind::kNone;
  }
  if (file.find("blk.0.attn_q_norm.weight")) {
    c.qk_norm = QkNorm::kAllHeads;
    c.qk_norm_kind = NormKind::kLayer;
  }
  return c;
}

size_t n_kv_heads(const HfImport& hf, size_t n_head) {
  const std::string kind = hf.config_string({"attn_config.attn_type"}, "multihead_attention");
  if (kind == "multiquery_attention") return 1;
  return hf.config_uint({"attn_config.kv_n_heads"}, n_head);
}

// A number, or the word by which MPT's training code asks for 1 / sqrt(d_model).
double logit_scale(const HfImport& hf, size_t n_embd) {
  if (!hf.has_config("logit_scale")) return 1.0;
  if (!hf.config().at("logit_scale").is_string()) return hf.config_float({"logit_scale"});
  const std::string word = hf.config_string({"logit_scale"}, "");
  if (word != "inv_sqrt_d_model")
    fail(ErrorKind::kUnsupported, "config.json: logit_scale is '{}'; expected a number or 'inv_sqrt_d_model'", word);
  return 1 / std::sqrt(double(n_embd));
}

void refuse_what_is_not_covered(const HfImport& hf) {
  const std::string norm = hf.config_string({"norm_type"}, "low_precision_layernorm");
  if (norm != "low_precision_layernorm" && norm != "layernorm")
    fail(ErrorKind::kUnsupported,
         "config.json: norm_type is '{}'; hunch runs MPT with layernorm or low_precision_layernorm", norm);
  if (hf.config_bool({"attn_config.rope"}, false))
    fail(ErrorKind::kUnsupported,
         "config.json: attn_config.rope is true; hunch runs MPT with ALiBi or learned positions");
  if (hf.config_bool({"attn_config.qk_gn"}, false))
    fail(ErrorKind::kUnsupported, "config.json: attn_config.qk_gn is true; hunch knows qk_ln");
}

void import_mpt(HfImport& hf) {
  refuse_what_is_not_covered(hf);
  const size_t n_layer = hf.config_uint({"n_layers", "num_hidden_layers"}),
               n_embd = hf.config_uint({"d_model", "hidden_size"});
  const size_t n_head = hf.config_uint({"n_heads", "num_attention_heads"});
  const bool alibi = hf.config_bool({"attn_config.alibi"}, true);
  const double expansion = hf.config_float({"expansion_ratio"}, 4);
  if (!(expansion > 0 && expansion < 1024)) fail(ErrorKind::kFormat, "config.json: expansion_ratio is {}", expansion);
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", hf.config_uint({"max_seq_len"}, 2048));
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("feed_forward_length",
              hf.config_uint({"ffn_config.ffn_hidden_size"}, uint64_t(double(n_embd) * expansion)));
  hf.set_uint("attention.head_count", n_head);
  hf.set_uint("attention.head_count_kv", n_kv_heads(hf, n_head));
  hf.set_float("attention.layer_norm_epsilon", hf.config_float({"layer_norm_epsilon"}, 1e-5));
  hf.set_float("attention.max_alibi_bias", alibi ? hf.config_float({"attn_config.alibi_bias_max"}, 8) : 0.0);
  if (hf.has_config("attn_config.clip_qkv"))
    hf.set_float("attention.clamp_kqv", hf.config_float({"attn_config.clip_qkv"}));
  if (hf.has_config("attn_config.softmax_scale"))
    hf.set_float("attention.scale", hf.config_float({"attn_config.softmax_scale"}));
  if (const double scale = logit_scale(hf, n_embd); scale != 1.0) hf.set_float("logit_scale", scale);

  hf.choose_prefix({"transformer.", "model.transformer.", ""}, "wte.weight");
  hf.move("wte", "token_embd");
  if (alibi) {
    hf.ignore("wpe.weight");
  } else {
    hf.move_if_present("wpe", "position_embd");
  }
  hf.move("norm_f", "output_norm");
  import_output(hf, "lm_head", true);
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("blocks.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "norm_1", to + "attn_norm");
    hf.move(from + "attn.Wqkv", to + "attn_qkv");
    hf.move_if_present(from + "attn.q_ln", to + "attn_q_norm");
    hf.move_if_present(from + "attn.k_ln", to + "attn_k_norm");
    hf.move(from + "attn.out_proj", to + "attn_output");
    hf.move(from + "norm_2", to + "ffn_norm");
    if (hf.has(from + "ffn.act.scales")) refuse_scaled_activation(from + "ffn.act.scales");
    hf.move(from + "ffn.up_proj", to + "ffn_up");
    hf.move(from + "ffn.down_proj", to + "ffn_down");
  }
}

}  // namespace

const Architecture kArchMpt = {"mpt", "mpt", true, mpt_config, import_mpt};

}  // namespace hunch
