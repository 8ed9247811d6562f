// Nemotron-H: layers of one block each, Mamba-2, attention without positions, or an MLP of squared ReLUs (exact zeros);
// Nemotron 3: mixtures of such MLPs with a shared one, chosen by sigmoid scores and a bias; of Super and Ultra the
// experts read and write a narrower stream.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/printable.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

ModelConfig nemotron_h_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kReluSquared);
  file.meta.get_float(c.arch + ".attention.layer_norm_epsilon", 0.0);  // the other one is meant
  c.norm = NormKind::kRms;
  c.position = PositionKind::kNone;
  c.moe.score = RouterScore::kSigmoid;
  c.moe.group_best = 2;
  read_state_sizes(file, c);
  mixers_by_tensors(file, c, {{"ssm_in.weight", Mixer::kMamba2}, {"attn_q.weight", Mixer::kAttention}});
  return c;
}

// A Mamba-2 block, "<from>in_proj", ..., as blk's tensors.
void import_mamba2(HfImport& hf, const std::string& from, const std::string& to, size_t n_group) {
  hf.move(from + "in_proj", to + "ssm_in");
  const Tensor conv = hf.take(from + "conv1d.weight");
  hf.put(to + "ssm_conv1d.weight", hf.reshaped(conv, {conv.shape[0], conv.n_elems() / conv.shape[0]}));
  if (hf.has(from + "conv1d.bias")) hf.put(to + "ssm_conv1d.bias", hf.take(from + "conv1d.bias"));
  hf.put(to + "ssm_dt.bias", hf.take(from + "dt_bias"));
  const Tensor a = hf.minus_exp(hf.take(from + "A_log")), d = hf.take(from + "D");
  hf.put(to + "ssm_a", hf.reshaped(a, {a.n_elems(), 1}));
  hf.put(to + "ssm_d", hf.reshaped(d, {d.n_elems(), 1}));
  const Tensor norm = hf.take(from + "norm.weight");
  hf.put(to + "ssm_norm.weight", hf.reshaped(norm, {n_group, norm.n_elems() / n_group}));
  hf.move(from + "out_proj", to + "ssm_out");
}

void import_states(HfImport& hf, size_t n_group) {
  const size_t n_head = hf.config_uint({"mamba_num_heads"});
  hf.set_uint("ssm.conv_kernel", hf.config_uint({"conv_kernel"}, 4));
  hf.set_uint("ssm.state_size", hf.config_uint({"ssm_state_size"}));
  hf.set_uint("ssm.group_count", n_group);
  hf.set_uint("ssm.inner_size", n_head * hf.config_uint({"mamba_head_dim"}));
  hf.set_uint("ssm.time_step_rank", n_head);
  if (hf.config_string({"mamba_hidden_act"}, "silu") != "silu")
    fail(ErrorKind::kUnsupported, "config.json: mamba_hidden_act is not silu");
  if (hf.has_config("time_step_limit")) {
    const auto& limit = hf.config()["time_step_limit"];
    if (limit.size() != 2 || limit[0] != 0.0 || !(limit[1].get<double>() > 1e300))
      fail(ErrorKind::kUnsupported, "config.json: time_step_limit is {}, expected [0, Infinity]", limit.dump());
  }
  for (const char* key : {"expand", "chunk_size", "rescale_prenorm_residual", "residual_in_fp32", "time_step_floor",
                          "time_step_max", "time_step_min", "use_conv_bias", "use_mamba_kernels", "num_logits_to_keep",
                          "mamba_proj_bias", "use_bias", "mlp_bias", "attention_bias", "norm_eps"})
    hf.ignore_config(key);
}

// A letter for each layer, of either way to say it.
std::string layer_kinds(const HfImport& hf) {
  hf.ignore_config("layers_block_type");
  if (hf.has_config("hybrid_override_pattern")) return hf.config_string({"hybrid_override_pattern"}, "");
  std::string pattern;
  if (!hf.has_config("layers_block_type") || !hf.config()["layers_block_type"].is_array()) return pattern;
  for (const auto& kind : hf.config()["layers_block_type"])
    pattern += kind == "mamba" ? 'M' : kind == "attention" ? '*' : kind == "mlp" ? '-' : kind == "moe" ? 'E' : '?';
  return pattern;
}

void import_nemotron_h(HfImport& hf, bool has_experts) {
  const size_t n_embd = hf.config_uint({"hidden_size"}), n_ff = hf.config_uint({"intermediate_size"});
  const std::string pattern = layer_kinds(hf);
  const size_t n_layer = hf.config_uint({"num_hidden_layers"}, pattern.size()),
               n_head = hf.config_uint({"num_attention_heads"});
  const size_t n_kv_head = hf.config_uint({"num_key_value_heads"}, n_head);
  const size_t n_group = std::max<size_t>(1, hf.config_uint({"n_groups"}, 1));
  if (pattern.size() != n_layer || pattern.find_first_not_of("M*-E") != pattern.npos)
    fail(ErrorKind::kFormat,
         "config.json: hybrid_override_pattern (or layers_block_type) is '{}', expected {} of M, *, - and E",
         printable(pattern), n_layer);
  if (n_head == 0) fail(ErrorKind::kFormat, "config.json: num_attention_heads is 0");
  const size_t d_head = hf.config_uint({"head_dim", "attention_head_dim"}, n_embd / n_head);
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", hf.config_uint({"max_position_embeddings"}));
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("attention.head_count", n_head);
  hf.set_uint("attention.key_length", d_head);
  hf.set_uint("attention.value_length", d_head);
  const double epsilon = hf.config_float({"layer_norm_epsilon", "norm_eps"}, 1e-5);
  hf.set_float("attention.layer_norm_rms_epsilon", epsilon);
  hf.set_float("attention.layer_norm_epsilon", epsilon);  // llama.cpp wants to read both
  import_activation(hf, hf.config_string({"mlp_hidden_act"}, "relu2"), "relu2");
  import_states(hf, n_group);
  size_t n_expert = 0, width = n_ff, n_latent = 0;
  if (has_experts) {
    n_expert = import_sigmoid_router_config(hf);
    width = hf.config_uint({"moe_intermediate_size"});
    hf.set_uint("expert_gating_func", 2);
    hf.set_uint("expert_shared_feed_forward_length", hf.config_uint({"moe_shared_expert_intermediate_size"}, width));
    n_latent = hf.config_uint({"moe_latent_size"}, 0);
    if (n_latent > 0) hf.set_uint("moe_latent_size", n_latent);
  }

  hf.choose_prefix({"backbone.", "model.", ""}, "embeddings.weight");
  hf.move("embeddings", "token_embd");
  hf.move("norm_f", "output_norm");
  import_output(hf, "lm_head", false);
  std::vector<uint32_t> n_kv_heads(n_layer), widths(n_layer);
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.mixer.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(fmt::format("layers.{}.norm", layer), to + "attn_norm");
    switch (pattern[layer]) {
      case 'M': import_mamba2(hf, from, to, n_group); break;
      case '*':
        n_kv_heads[layer] = uint32_t(n_kv_head);
        for (const char* part : {"q", "k", "v"})
          hf.move(fmt::format("{}{}_proj", from, part), fmt::format("{}attn_{}", to, part));
        hf.move(from + "o_proj", to + "attn_output");
        break;
      case '-':
        widths[layer] = uint32_t(n_ff);
        hf.move(from + "up_proj", to + "ffn_up");
        hf.move(from + "down_proj", to + "ffn_down");
        break;
      default:
        if (!has_experts) fail(ErrorKind::kFormat, "config.json: layer {} has experts, but no n_routed_experts", layer);
        widths[layer] = uint32_t(width);
        hf.move(from + "gate", to + "ffn_gate_inp");
        hf.put(to + "exp_probs_b.bias", hf.take(from + "gate.e_score_correction_bias"));
        if (n_latent > 0) {
          hf.move(from + "fc1_latent_proj", to + "ffn_latent_down");
          hf.move(from + "fc2_latent_proj", to + "ffn_latent_up");
        }
        for (const char* part : {"up", "down"}) {
          import_experts(hf, from + "experts", fmt::format("{}_proj", part), n_expert,
                         fmt::format("{}ffn_{}_exps", to, part));
          hf.move(fmt::format("{}shared_experts.{}_proj", from, part), fmt::format("{}ffn_{}_shexp", to, part));
        }
    }
  }
  hf.set_uints("attention.head_count_kv", std::move(n_kv_heads));
  hf.set_uints("feed_forward_length", std::move(widths));
}

}  // namespace

const Architecture kArchNemotronHMoe = {"nemotron_h_moe", "", true, nemotron_h_config,
                                        [](HfImport& hf) { import_nemotron_h(hf, true); }};
const Architecture kArchNemotronH = {
    "nemotron_h",      "nemotron_h", true, nemotron_h_config, [](HfImport& hf) { import_nemotron_h(hf, false); },
    &kArchNemotronHMoe};

}  // namespace hunch
