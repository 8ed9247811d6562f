#include "compress/quant_mix.h"

#include <algorithm>
#include <charconv>

#include "formats/format.h"

namespace hunch {
namespace {

using Kind = QuantMix::Kind;

constexpr QuantMix kMixes[] = {
    {"q2_k", DType::kQ2_K, 10, Kind::kQ2K},       {"q2_k_s", DType::kQ2_K, 21, Kind::kQ2KS},
    {"q3_k_s", DType::kQ3_K, 11, Kind::kQ3KS},    {"q3_k_m", DType::kQ3_K, 12, Kind::kQ3KM},
    {"q3_k_l", DType::kQ3_K, 13, Kind::kQ3KL},    {"q4_k_s", DType::kQ4_K, 14, Kind::kQ4KS},
    {"q4_k_m", DType::kQ4_K, 15, Kind::kQ4KM},    {"q5_k_s", DType::kQ5_K, 16, Kind::kQ5KS},
    {"q5_k_m", DType::kQ5_K, 17, Kind::kQ5KM},    {"iq4_xs", DType::kIQ4_XS, 30, Kind::kIQ4XS},
    {"iq4_nl", DType::kIQ4_NL, 25, Kind::kIQ4NL}, {"mxfp4_moe", DType::kMXFP4, 38, Kind::kMxfp4},
};

// The first and last eighth of the layers, and every third between.
bool deserves_more(size_t i, size_t n) { return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2; }

// The number in "blk.7.": 0 of a tensor of no layer.
size_t layer_of(std::string_view name) {
  size_t layer = 0;
  if (name.starts_with("blk.")) std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return layer;
}

struct Question {
  Kind kind;
  const MixModel& model;
  size_t layer;

  bool is(std::initializer_list<Kind> kinds) const { return std::ranges::find(kinds, kind) != kinds.end(); }
  bool has_eight_experts() const { return model.n_expert == 8; }
  bool early(size_t share) const { return layer < model.n_layer / share; }
};

DType of_values(const Question& q, DType base) {
  if (q.has_eight_experts()) return DType::kQ8_0;  // small beside the experts
  const auto& layers = q.model.value_layers;
  const size_t i = size_t(std::ranges::lower_bound(layers, q.layer) - layers.begin());
  const bool shared = q.model.n_shared_heads >= 4;
  switch (q.kind) {
    case Kind::kQ2K: return shared ? DType::kQ4_K : DType::kQ3_K;
    case Kind::kQ2KS: return shared ? DType::kQ4_K : base;
    case Kind::kQ3KM: return i < 2 ? DType::kQ5_K : DType::kQ4_K;
    case Kind::kQ3KL: return DType::kQ5_K;
    case Kind::kQ4KS: return i < 4 ? DType::kQ5_K : base;
    case Kind::kQ4KM:
    case Kind::kQ5KM: return deserves_more(i, layers.size()) ? DType::kQ6_K : base;
    case Kind::kIQ4XS:
    case Kind::kIQ4NL: return shared ? DType::kQ5_K : base;
    default: return base;
  }
}

DType of_down(const Question& q, DType base) {
  switch (q.kind) {
    case Kind::kQ2K: return DType::kQ3_K;
    case Kind::kQ2KS: return q.early(8) ? DType::kQ4_K : base;
    case Kind::kQ3KM: return q.early(16) ? DType::kQ5_K : DType::kQ4_K;
    case Kind::kQ3KL: return DType::kQ5_K;
    case Kind::kQ4KS: return q.early(8) ? DType::kQ5_K : base;
    case Kind::kQ4KM:
    case Kind::kQ5KM: return deserves_more(q.layer, q.model.n_layer) ? DType::kQ6_K : base;
    case Kind::kIQ4XS:
    case Kind::kIQ4NL: return q.early(8) && !q.model.has_importance ? DType::kQ5_K : base;
    default: return base;
  }
}

DType of_heads(const Question& q, DType base) {
  if (q.has_eight_experts()) return q.is({Kind::kQ3KL, Kind::kQ5KS, Kind::kQ5KM, Kind::kQ2KS}) ? base : DType::kQ5_K;
  switch (q.kind) {
    case Kind::kQ2K: return DType::kQ3_K;
    case Kind::kQ3KM: return DType::kQ4_K;
    case Kind::kQ3KL: return DType::kQ5_K;
    default: return base;
  }
}

// Values, alone or in one matrix with queries and keys, as in falcons and delta nets, or with the keys of latents.
bool has_values(std::string_view tensor) {
  for (const std::string_view part : {"attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight"})
    if (tensor.find(part) != tensor.npos) return true;
  return false;
}

}  // namespace

bool stays_float(std::string_view tensor) {
  for (const std::string_view part : {"altup", "laurel", "per_layer_model_proj"})
    if (tensor.find(part) != tensor.npos) return true;
  return false;
}

MixModel::MixModel(const ModelFile& file) {
  const std::string arch = file.meta.get_string("general.architecture", "") + ".";
  n_layer = file.meta.get_uint(arch + "block_count", 0);
  n_expert = file.meta.get_uint(arch + "expert_count", 0);
  const auto first_of = [&](const std::string& key, uint64_t fallback) -> uint64_t {
    const MetaValue* value = file.meta.find(key);
    if (!value) return fallback;
    if (!std::holds_alternative<MetaArray>(*value)) return file.meta.get_uint(key);
    const auto all = file.meta.get_ints(key);
    return all.empty() ? fallback : uint64_t(std::max<int64_t>(0, std::ranges::max(all)));
  };
  const uint64_t n_head = first_of(arch + "attention.head_count", 1);
  n_shared_heads = n_head / std::max<uint64_t>(1, first_of(arch + "attention.head_count_kv", n_head));
  for (const Tensor& t : file.tensors) {
    has_output |= t.name == "output.weight";
    if (has_values(t.name)) value_layers.push_back(layer_of(t.name));
  }
  std::ranges::sort(value_layers);
}

std::vector<std::string> mix_names() {
  std::vector<std::string> names;
  for (const QuantMix& mix : kMixes) names.push_back(mix.name);
  return names;
}

const QuantMix* find_mix(std::string_view name) {
  const auto found = std::ranges::find(kMixes, name, &QuantMix::name);
  return found == std::end(kMixes) ? nullptr : &*found;
}

DType mixed_type(const QuantMix& mix, const MixModel& model, std::string_view tensor) {
  const Kind kind = mix.kind;
  const auto has = [&](std::string_view part) { return tensor.find(part) != tensor.npos; };
  const Question q{kind, model, layer_of(tensor)};
  if (kind == Kind::kMxfp4) return has("_exps.") ? DType::kMXFP4 : DType::kQ8_0;
  const bool embeds = tensor == "token_embd.weight" || tensor == "per_layer_token_embd.weight";
  if (tensor == "output.weight" || (embeds && !model.has_output)) return DType::kQ6_K;
  if (has_values(tensor)) return of_values(q, mix.base);
  if (has("attn_k.weight") && q.has_eight_experts()) return DType::kQ8_0;
  if (has("ffn_down")) return of_down(q, mix.base);
  if (has("attn_output.weight")) return of_heads(q, mix.base);
  return mix.base;
}

}  // namespace hunch
