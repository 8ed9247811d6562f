// LFM2: gated short convolutions, and attention with normalised heads between them; the final norm bears the
// embedding's name. LFM2-MoE: mixtures that choose by sigmoid scores and a bias, behind some dense layers.
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig lfm2_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.gated = true;
  c.position = PositionKind::kRope;
  c.qk_norm = QkNorm::kShared;
  c.embd_norm_last = true;
  c.moe.score = RouterScore::kSigmoid;
  c.recurrent.n_taps = file.meta.get_uint(c.arch + ".shortconv.l_cache");
  c.recurrent.n_head = 1;
  c.recurrent.d_head = c.n_embd;
  mixers_by_tensors(file, c, {{"shortconv.in_proj.weight", Mixer::kShortConv}, {"attn_q.weight", Mixer::kAttention}});
  return c;
}

struct Sizes {
  size_t n_layer, n_head, n_kv_head;
};

Sizes import_config(HfImport& hf, size_t n_ff) {
  const Sizes s{hf.config_uint({"num_hidden_layers"}), hf.config_uint({"num_attention_heads"}),
                hf.config_uint({"num_key_value_heads"})};
  const size_t n_ctx = hf.config_uint({"max_position_embeddings"}, 128000), n_embd = hf.config_uint({"hidden_size"});
  if (hf.config_bool({"conv_bias"}, false))
    fail(ErrorKind::kUnsupported, "config.json: conv_bias is true, expected false as in the published models");
  if (s.n_head == 0) fail(ErrorKind::kFormat, "config.json: num_attention_heads is 0");
  hf.set_uint("block_count", s.n_layer);
  hf.set_uint("context_length", n_ctx);
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("feed_forward_length", n_ff);
  hf.set_uint("attention.head_count", s.n_head);
  hf.set_float("rope.freq_base", hf.config_float({"rope_theta"}, 1e6));
  hf.set_float("attention.layer_norm_rms_epsilon", hf.config_float({"norm_eps", "block_norm_eps"}, 1e-5));
  hf.set_uint("shortconv.l_cache", hf.config_uint({"conv_L_cache"}, 3));
  import_rope_scaling(hf, n_embd / s.n_head, n_ctx);
  for (const char* key :
       {"block_dim", "block_mlp_init_scale", "block_out_init_scale", "block_use_swiglu", "block_use_xavier_init",
        "conv_dim", "conv_dim_out", "conv_use_xavier_init", "use_pos_enc", "num_heads", "block_norm_eps", "theta"})
    hf.ignore_config(key);
  return s;
}

void import_ends(HfImport& hf) {
  hf.choose_prefix({"model.", ""}, "embed_tokens.weight");
  hf.move("embed_tokens", "token_embd");
  hf.move("embedding_norm", "token_embd_norm");
  if (hf.config_bool({"tie_embedding", "tie_word_embeddings"}, true)) {
    hf.ignore("lm_head.weight");
  } else {
    hf.move("lm_head", "output");
  }
}

void import_mixers(HfImport& hf, const Sizes& s) {
  const std::vector<std::string> kinds = import_layer_kinds(hf, s.n_layer, "conv");
  std::vector<uint32_t> n_kv_heads;
  for (size_t layer = 0; layer < s.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "operator_norm", to + "attn_norm");
    hf.move(from + "ffn_norm", to + "ffn_norm");
    const bool is_conv = kinds[layer] == "conv";
    n_kv_heads.push_back(is_conv ? 0 : uint32_t(s.n_kv_head));
    if (is_conv) {
      const Tensor conv = hf.take(from + "conv.conv.weight");
      hf.put(to + "shortconv.conv.weight", hf.reshaped(conv, {conv.shape[0], conv.n_elems() / conv.shape[0]}));
      hf.move(from + "conv.in_proj", to + "shortconv.in_proj");
      hf.move(from + "conv.out_proj", to + "shortconv.out_proj");
      continue;
    }
    for (const char* part : {"q", "k", "v"})
      hf.move(fmt::format("{}self_attn.{}_proj", from, part), fmt::format("{}attn_{}", to, part));
    hf.move(from + "self_attn.out_proj", to + "attn_output");
    for (const char* part : {"q", "k"})
      hf.move(fmt::format("{}self_attn.{}_layernorm", from, part), fmt::format("{}attn_{}_norm", to, part));
  }
  hf.set_uints("attention.head_count_kv", std::move(n_kv_heads));
}

constexpr std::pair<const char*, const char*> kMlp[] = {{"w1", "gate"}, {"w3", "up"}, {"w2", "down"}};

void import_dense_mlp(HfImport& hf, size_t layer) {
  for (const auto& [from, to] : kMlp)
    hf.move(fmt::format("layers.{}.feed_forward.{}", layer, from), fmt::format("blk.{}.ffn_{}", layer, to));
}

void import_lfm2(HfImport& hf) {
  size_t n_ff = hf.config_uint({"block_ff_dim", "intermediate_size"});
  hf.ignore_config("intermediate_size");
  const bool adjusts = hf.config_bool({"block_auto_adjust_ff_dim"}, true);
  const double multiplier = hf.config_float({"block_ffn_dim_multiplier"}, 1.0);
  const size_t unit = std::max<size_t>(1, hf.config_uint({"block_multiple_of"}, 256));
  if (adjusts) n_ff = (size_t(multiplier * double(2 * n_ff / 3)) + unit - 1) / unit * unit;
  const Sizes s = import_config(hf, n_ff);
  import_ends(hf);
  import_mixers(hf, s);
  for (size_t layer = 0; layer < s.n_layer; ++layer) import_dense_mlp(hf, layer);
}

void import_lfm2_moe(HfImport& hf) {
  const Sizes s = import_config(hf, hf.config_uint({"intermediate_size"}));
  const size_t n_expert = hf.config_uint({"num_experts"}), n_dense = hf.config_uint({"num_dense_layers"}, 0);
  import_moe_counts(hf, n_expert, hf.config_uint({"num_experts_per_tok"}), hf.config_uint({"moe_intermediate_size"}));
  hf.set_uint("leading_dense_block_count", n_dense);
  hf.set_uint("expert_gating_func", 2);
  hf.set_bool("expert_weights_norm", hf.config_bool({"norm_topk_prob"}, true));
  hf.set_float("expert_weights_scale", hf.config_float({"routed_scaling_factor"}, 1.0));
  hf.ignore_config("use_expert_bias");  // the tensors say
  import_ends(hf);
  import_mixers(hf, s);
  for (size_t layer = 0; layer < s.n_layer; ++layer) {
    if (layer < n_dense) {
      import_dense_mlp(hf, layer);
      continue;
    }
    const std::string from = fmt::format("layers.{}.feed_forward.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "gate", to + "ffn_gate_inp");
    if (hf.has(from + "expert_bias")) hf.put(to + "exp_probs_b.bias", hf.take(from + "expert_bias"));
    for (const auto& [part, name] : kMlp)
      import_experts(hf, from + "experts", part, n_expert, fmt::format("{}ffn_{}_exps", to, name));
  }
}

}  // namespace

const Architecture kArchLfm2 = {"lfm2", "lfm2", true, lfm2_config, import_lfm2};
const Architecture kArchLfm2Moe = {"lfm2moe", "lfm2_moe", true, lfm2_config, import_lfm2_moe};

}  // namespace hunch
