#include "model/hf_trace.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/printable.h"
#include "model/architecture.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;

// What is written into every row: the factor, and by it, its number and its matrix's.
constexpr size_t kMarks = 3;

// Of LFM2, Nemotron-H and Qwen3-Next: their states, and which layer is what.
void say_states(const ModelConfig& c, Json& json) {
  const RecurrentConfig& r = c.recurrent;
  std::string blocks;
  size_t n_dense = 0;
  for (const LayerConfig& l : c.layers) {
    blocks += l.is_recurrent() ? 'M' : l.has_attention() ? '*' : l.has_experts() ? 'E' : '-';
    json["layer_types"].push_back(l.has_attention()              ? "full_attention"
                                  : l.mixer == Mixer::kShortConv ? "conv"
                                                                 : "linear_attention");
    n_dense += n_dense == l.index && !l.has_experts();  // of the first layers
  }
  json["hybrid_override_pattern"] = blocks;
  json["num_dense_layers"] = n_dense;
  json["block_ff_dim"] = c.n_ff;
  json["block_auto_adjust_ff_dim"] = false;
  json["mamba_num_heads"] = json["linear_num_value_heads"] = r.n_head;
  json["mamba_head_dim"] = json["linear_value_head_dim"] = r.d_head;
  json["n_groups"] = json["linear_num_key_heads"] = std::max<size_t>(1, r.n_group);
  json["ssm_state_size"] = json["linear_key_head_dim"] = r.d_state;
  json["moe_shared_expert_intermediate_size"] = c.moe.n_ff_shared;
  json["moe_latent_size"] = c.moe.n_latent;
}

// A config.json of the model's sizes in the words of all architectures, as far as they decide about rows.
Json config_json(const Metadata& meta, const ModelConfig& c) {
  Json json;
  const auto say = [&](std::initializer_list<const char*> words, const Json& value) {
    for (const char* word : words) json[word] = value;
  };
  say({"num_hidden_layers", "n_layer", "num_layers", "n_layers"}, c.n_layer);
  say({"hidden_size", "n_embd", "n_embed", "d_model"}, c.n_embd);
  say({"num_attention_heads", "n_head", "num_heads", "n_heads", "attention_heads"}, c.n_head);
  say({"num_key_value_heads", "num_kv_heads", "n_head_kv"}, c.n_kv_head);
  say({"head_dim"}, c.d_head);
  say({"intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size"}, c.n_ff);
  say({"max_position_embeddings"}, c.n_ctx_train);
  say({"num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "moe_num_primary_experts"},
      c.moe.n_expert);
  say({"num_experts_per_tok", "moe_k", "moe_num_active_primary_experts"}, c.moe.n_expert_used);
  say({"moe_intermediate_size", "moe_ffn_hidden_size"}, c.moe.n_ff);
  say({"shared_expert_intermediate_size", "shared_intermediate_size"}, c.moe.n_ff_shared);
  say({"n_shared_experts", "moe_num_shared_experts"}, c.moe.n_ff ? c.moe.n_ff_shared / c.moe.n_ff : 0);
  if (c.latent.rank > 0) {
    say({"kv_lora_rank"}, c.latent.rank);
    if (c.latent.rank_q > 0) say({"q_lora_rank"}, c.latent.rank_q);
    say({"qk_nope_head_dim"}, c.latent.d_plain);
    say({"qk_rope_head_dim"}, c.d_head - c.latent.rank);
    say({"v_head_dim"}, c.latent.d_value);
  }
  if (c.value_norm) {  // Gemma 3n and 4, whose imports ask which layers are of which kind
    for (const LayerConfig& l : c.layers)
      json["layer_types"].push_back(l.window > 0 ? "sliding_attention" : "full_attention");
    say({"sliding_window"}, c.n_ctx_train);
    say({"num_kv_shared_layers"}, c.n_borrowing);
    say({"hidden_size_per_layer_input"}, c.n_per_layer);
    say({"altup_num_inputs"}, c.n_streams);
    say({"enable_moe_block"}, c.moe.beside_mlp);
    say({"top_k_experts"}, c.moe.n_expert_used);
  }
  if (!c.mixers.empty()) say_states(c, json);
  say({"multi_query"}, c.n_kv_head == 1);
  say({"new_decoder_architecture"}, true);  // Falcon: the number of key heads is the one that is said
  say({"tie_word_embeddings"}, false);      // an adapter of the output is the output's
  for (const char* word : {"scale_attn_weights", "scale_attn_by_inverse_layer_idx"})  // folded into W_q
    if (const std::string key = c.arch + "." + word; meta.has(key)) json[word] = meta.get_bool(key);
  return json;
}

// The checkpoint that has nothing but the numbered matrices. Whatever else the import takes is absent: a tensor without
// data, which stays so whatever is done with it.
class Trace final : public HfImport {
 public:
  Trace(const HfFolder& folder, std::string arch, std::span<const NamedRows> matrices)
      : HfImport(folder, std::move(arch)), matrices_(matrices) {}

  void choose_prefix(std::initializer_list<std::string_view> candidates, std::string_view) override {
    const auto fits = [&](std::string_view prefix) {
      return std::ranges::any_of(by_name(), [&](const auto& entry) { return entry.first.starts_with(prefix); });
    };
    const auto found = std::ranges::find_if(candidates, fits);
    set_prefix(found == candidates.end() ? std::string_view() : *found);
  }
  Tensor take(std::string_view name) override {
    constexpr uint64_t kAnyRows = 1024;  // OPT asks for more positions than two
    return has(name) ? HfImport::take(name) : Tensor{std::string(name), DType::kF32, {kAnyRows, kMarks}, {}};
  }
  // Only matrices in the checkpoint's orientation can need turning.
  Tensor transposed(const Tensor& t) override {
    for (const NamedRows& matrix : matrices_)
      if (matrix.as_stored && matrix.name == t.name)
        fail(ErrorKind::kUnsupported,
             "'{}' is saved whole, in a checkpoint that stores it transposed: hunch reads only "
             "low-rank adapters of it",
             printable(t.name));
    return t;
  }
  Tensor turned_part(const Tensor& t) override {
    if (!absent(t))
      fail(ErrorKind::kUnsupported, "'{}' is taken apart and turned, and hunch reads no adapter of it",
           printable(t.name));
    return t;
  }
  Tensor with_cols_in_order(const Tensor& t, std::span<const uint32_t> order) override {
    for (uint32_t m = 0; m < matrices_.size(); ++m) {
      if (matrices_[m].name != t.name) continue;
      if (matrices_[m].as_stored) return turned_part(t);
      input_orders[m] = {order.begin(), order.end()};
    }
    return t;
  }
  Tensor minus_exp(const Tensor& t) override { return t; }
  Tensor reshaped(Tensor t, std::vector<uint64_t>) override { return t; }
  Tensor plus_one(const Tensor& t) override { return t; }
  Tensor rows(const Tensor& t, size_t begin, size_t count) override {
    return absent(t) ? t : HfImport::rows(t, begin, count);
  }
  Tensor with_rows_in_order(const Tensor& t, std::span<const uint32_t> order) override {
    return absent(t) ? t : HfImport::with_rows_in_order(t, order);
  }
  Tensor scaled_rows(const Tensor& t, size_t count, float factor) override {
    return absent(t) ? t : HfImport::scaled_rows(t, count, factor);
  }
  Tensor interleaved_rope_rows(const Tensor& t, size_t n_head) override {
    return absent(t) ? t : HfImport::interleaved_rope_rows(t, n_head);
  }
  Tensor degrouped_qkv(const Tensor& t, size_t groups, size_t q_per_group, size_t d_head) override {
    return absent(t) ? t : HfImport::degrouped_qkv(t, groups, q_per_group, d_head);
  }
  Tensor concatenated(std::span<const Tensor> parts) override {
    return std::ranges::all_of(parts, absent) ? parts[0] : HfImport::concatenated(parts);
  }
  // Of experts that are adapted and others that are not.
  Tensor stacked(std::span<const Tensor> parts) override {
    const auto present = std::ranges::find_if_not(parts, absent);
    if (present == parts.end()) return parts[0];
    const std::vector<float> nothing(present->n_elems());
    std::vector<Tensor> all(parts.begin(), parts.end());
    for (Tensor& part : all)
      if (absent(part)) part = from_floats(nothing, present->shape);
    return HfImport::stacked(all);
  }

  std::map<uint32_t, std::vector<uint32_t>> input_orders;  // RowTrace's

 private:
  static bool absent(const Tensor& t) { return t.data.empty(); }

  std::span<const NamedRows> matrices_;
};

std::vector<RowOrigin> origins_of(const Tensor& t) {
  std::vector<RowOrigin> origins(t.rows());
  for (size_t r = 0; r < origins.size(); ++r) {
    float marks[kMarks];
    std::memcpy(marks, t.data.data() + r * sizeof marks, sizeof marks);
    const float factor = marks[0];
    if (factor != 0)
      origins[r] = {uint32_t(std::lround(marks[2] / factor)), uint32_t(std::lround(marks[1] / factor)), factor};
  }
  return origins;
}

}  // namespace

RowTrace trace_hf_rows(const Metadata& meta, const ModelConfig& config, std::span<const NamedRows> matrices) {
  constexpr size_t kMostRows = size_t{1} << 22;  // numbers that a factor does not blur
  HfFolder folder{"the adapter", config_json(meta, config).dump(), {}, {}};
  std::vector<std::vector<float>> values(matrices.size());
  for (size_t m = 0; m < matrices.size(); ++m) {
    const size_t n = matrices[m].n_rows;
    if (n > kMostRows)
      fail(ErrorKind::kFormat, "'{}' has {} rows, expected at most {}", printable(matrices[m].name), n, kMostRows);
    for (size_t r = 0; r < n; ++r) values[m].insert(values[m].end(), {1.0f, float(r), float(m)});
    folder.tensors.push_back({matrices[m].name, DType::kF32, {n, kMarks}, std::as_bytes(std::span(values[m]))});
  }
  const Architecture& arch = architecture_by_gguf_name(config.arch);
  Trace import(folder, arch.gguf_name, matrices);
  arch.import_hf(import);
  RowTrace trace{{}, import.unused(), std::move(import.input_orders)};
  for (const Tensor& t : import.finish().tensors)
    if (!t.data.empty() && t.cols() == kMarks) trace.tensors[t.name] = origins_of(t);
  return trace;
}

}  // namespace hunch
