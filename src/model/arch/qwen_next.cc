// Qwen3-Next and Qwen3.5: a gated delta net in three of four layers, attention whose queries come with gates in the
// fourth; dense, or mixtures with a gated shared expert.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

constexpr LlamaLikeTensors kTensors{.norm_plus_one = true};

ModelConfig qwen_next_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.gated = true;
  c.position = PositionKind::kRope;
  c.qk_norm = QkNorm::kShared;
  c.output_gate = true;
  read_state_sizes(file, c);
  mixers_by_tensors(file, c, {{"ssm_a", Mixer::kDeltaNet}, {"attn_k.weight", Mixer::kAttention}});
  return c;
}

ModelConfig qwen35_config(const ModelFile& file) {
  ModelConfig c = qwen_next_config(file);
  c.recurrent.in_turn = true;  // as llama.cpp's converter orders the heads
  return c;
}

struct States {
  size_t n_head, d_head, n_group, d_state;
};

States import_states(HfImport& hf) {
  const States s{hf.config_uint({"linear_num_value_heads"}), hf.config_uint({"linear_value_head_dim"}),
                 hf.config_uint({"linear_num_key_heads"}), hf.config_uint({"linear_key_head_dim"})};
  if (s.n_group == 0 || s.n_head % s.n_group)
    fail(ErrorKind::kFormat, "config.json: linear_num_value_heads is {}, expected a multiple of {}", s.n_head,
         s.n_group);
  hf.set_uint("ssm.conv_kernel", hf.config_uint({"linear_conv_kernel_dim"}, 4));
  hf.set_uint("ssm.state_size", s.d_state);
  hf.set_uint("ssm.group_count", s.n_group);
  hf.set_uint("ssm.time_step_rank", s.n_head);
  hf.set_uint("ssm.inner_size", s.n_head * s.d_head);
  hf.set_uint("full_attention_interval", hf.config_uint({"full_attention_interval"}, 4));
  for (const char* key : {"mtp_num_hidden_layers", "mamba_ssm_dtype", "mtp_use_dedicated_embeddings"})
    hf.ignore_config(key);
  hf.ignore_config("attention_bias");  // the tensors say
  if (!hf.config_bool({"attn_output_gate"}, true))
    fail(ErrorKind::kUnsupported, "config.json: attn_output_gate is false");
  return s;
}

using Order = std::vector<uint32_t>;

void add_rows(size_t begin, size_t n, Order& order) {
  for (size_t i = 0; i < n; ++i) order.push_back(uint32_t(begin + i));
}

// Heads that share a key stand apart, so that head h goes with key h % n_group: rows of `d` values each, behind
// `first` others.
Order heads_in_turn(const States& s, size_t d, size_t first = 0) {
  const size_t n = s.n_head / s.n_group;
  Order order;
  add_rows(0, first, order);
  for (size_t i = 0; i < n; ++i)
    for (size_t g = 0; g < s.n_group; ++g) add_rows(first + (g * n + i) * d, d, order);
  return order;
}

// What both have: of "<from>", to blk's tensors; of the vectors of heads, in `order` where there is one.
void import_vectors(HfImport& hf, const std::string& from, const std::string& to, const Order& order) {
  const auto ordered = [&](Tensor t) { return order.empty() ? t : hf.with_rows_in_order(t, order); };
  hf.put(to + "ssm_dt.bias", ordered(hf.take(from + "dt_bias")));
  hf.put(to + "ssm_a", ordered(hf.minus_exp(hf.take(from + "A_log"))));
  hf.move(from + "norm", to + "ssm_norm");
}

Tensor conv_weights(HfImport& hf, const std::string& from) {
  const Tensor conv = hf.take(from + "conv1d.weight");
  return hf.reshaped(conv, {conv.shape[0], conv.n_elems() / conv.shape[0]});
}

// Queries, keys, values and gates are rows of one matrix, key head by key head.
void import_delta_net_next(HfImport& hf, const std::string& from, const std::string& to, const States& s) {
  const size_t n_value = s.n_head / s.n_group * s.d_head, n_each = 2 * s.d_state + 2 * n_value;
  Order order;  // queries, keys, values, gates
  for (size_t part = 0; part < 3; ++part)
    for (size_t g = 0; g < s.n_group; ++g)
      add_rows(g * n_each + part * s.d_state, part < 2 ? s.d_state : n_value, order);
  const size_t n_conv = order.size();
  for (size_t g = 0; g < s.n_group; ++g) add_rows(g * n_each + 2 * s.d_state + n_value, n_value, order);
  const Tensor all = hf.with_rows_in_order(hf.take(from + "in_proj_qkvz.weight"), order);
  hf.put(to + "attn_qkv.weight", hf.rows(all, 0, n_conv));
  hf.put(to + "attn_gate.weight", hf.rows(all, n_conv, order.size() - n_conv));
  hf.move(from + "in_proj_ba", to + "ssm_ba");
  hf.put(to + "ssm_conv1d.weight", conv_weights(hf, from));
  import_vectors(hf, from, to, {});
  hf.move(from + "out_proj", to + "ssm_out");
}

void import_delta_net_35(HfImport& hf, const std::string& from, const std::string& to, const States& s) {
  const Order heads = heads_in_turn(s, 1), values = heads_in_turn(s, s.d_head);
  const Order channels = heads_in_turn(s, s.d_head, 2 * s.n_group * s.d_state);
  const auto put = [&](const char* name, const char* hf_name, const Order& order) {
    hf.put(to + name + ".weight", hf.with_rows_in_order(hf.take(from + hf_name + ".weight"), order));
  };
  put("attn_qkv", "in_proj_qkv", channels);
  put("attn_gate", "in_proj_z", values);
  put("ssm_beta", "in_proj_b", heads);
  put("ssm_alpha", "in_proj_a", heads);
  hf.put(to + "ssm_conv1d.weight", hf.with_rows_in_order(conv_weights(hf, from), channels));
  import_vectors(hf, from, to, heads);
  hf.put(to + "ssm_out.weight", hf.with_cols_in_order(hf.take(from + "out_proj.weight"), values));
}

// Experts as one tensor of gates and ups [n_expert, 2 n_ff, n_embd], and one of downs; or each by itself.
void import_mixture(HfImport& hf, const std::string& from, const std::string& to, size_t n_expert, size_t n_ff) {
  hf.move(from + "gate", to + "ffn_gate_inp");
  if (hf.has(from + "experts.gate_up_proj")) {
    import_halves(hf, from + "experts.gate_up_proj", n_ff, to + "ffn_gate_exps", to + "ffn_up_exps");
    hf.put(to + "ffn_down_exps.weight", hf.take(from + "experts.down_proj"));
  } else {
    import_gated_experts(hf, from + "experts", n_expert, to);
  }
  import_shared_expert(hf, from + "shared_expert", to);
  hf.move(from + "shared_expert_gate", to + "ffn_gate_inp_shexp");
}

void import_qwen_next(HfImport& hf, bool is_35) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu", /*windows_unless_said=*/false);
  const States states = import_states(hf);
  const size_t n_expert = hf.config_uint({"num_experts"}, 0), n_ff = hf.config_uint({"moe_intermediate_size"}, 0);
  if (n_expert > 0) {
    import_moe_counts(hf, n_expert, hf.config_uint({"num_experts_per_tok"}), n_ff,
                      hf.config_uint({"shared_expert_intermediate_size"}));
    hf.set_bool("expert_weights_norm", hf.config_bool({"norm_topk_prob"}, true));
    for (const char* key : {"mlp_only_layers", "decoder_sparse_step"}) hf.ignore_config(key);  // the tensors say which
  }
  const std::vector<std::string> kinds = import_layer_kinds(hf, sizes.n_layer, "linear_attention");
  import_llama_like_ends(hf, kTensors);
  hf.leave_out("mtp.");
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    if (const std::string net = from + "linear_attn."; kinds[layer] == "linear_attention") {
      import_norm(hf, from + "input_layernorm", to + "attn_norm", kTensors);
      (is_35 ? import_delta_net_35 : import_delta_net_next)(hf, net, to, states);
    } else {
      import_llama_like_attention(hf, layer, sizes, kTensors);
    }
    import_norm(hf, from + "post_attention_layernorm", to + "post_attention_norm", kTensors);
    if (n_expert == 0 || has_mlp(hf, from + "mlp")) {
      import_llama_like_mlp(hf, layer);
    } else {
      import_mixture(hf, from + "mlp.", to, n_expert, n_ff);
    }
  }
}

// How many pairs of a head turn with the time, the row and the column of what is seen. In texts all three are the
// position; llama.cpp wants to read them.
void import_rope_sections(HfImport& hf) {
  const auto found = hf.config().find("mrope_section");
  std::vector<uint32_t> sections = {11, 11, 10, 0};  // the published models'
  if (found != hf.config().end()) {
    const auto whole = [](const auto& v) { return v.is_number_unsigned() && v.template get<uint64_t>() < 1u << 16; };
    if (!found->is_array() || found->size() != 3 || !std::ranges::all_of(*found, whole))
      fail(ErrorKind::kFormat, "config.json: mrope_section is {}, expected three counts", found->dump());
    for (size_t i = 0; i < 3; ++i) sections[i] = (*found)[i].get<uint32_t>();
    hf.ignore_config("mrope_section");
  }
  hf.set_uints("rope.dimension_sections", std::move(sections));
}

void import_next(HfImport& hf) { import_qwen_next(hf, false); }
void import_35(HfImport& hf) {
  import_qwen_next(hf, true);
  import_rope_sections(hf);
}

}  // namespace

const Architecture kArchQwen3Next = {"qwen3next", "qwen3_next", true, qwen_next_config, import_next};
const Architecture kArchQwen35 = {"qwen35", "qwen3_5,qwen3_5_text", true, qwen35_config, import_35};
const Architecture kArchQwen35Moe = {"qwen35moe", "qwen3_5_moe,qwen3_5_moe_text", true, qwen35_config, import_35};

}  // namespace hunch
