#include "model/architecture.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "formats/format.h"
#include "io/ordered_tensors.h"
#include "io/rotated_tensors.h"
#include "io/sparse_tensors.h"

namespace hunch {
namespace {

const Architecture* const kAll[] = {
    &kArchOpt,        &kArchLlama,      &kArchGpt2,      &kArchGptNeo,       &kArchStarcoder,    &kArchGptNeoX,
    &kArchGptJ,       &kArchBloom,      &kArchMpt,       &kArchFalcon,       &kArchQwen2,        &kArchQwen3,
    &kArchQwen2Moe,   &kArchPhi2,       &kArchPhi3,      &kArchGemma,        &kArchGemma2,       &kArchStableLm,
    &kArchNemotron,   &kArchStarCoder2, &kArchCohere,    &kArchOlmo,         &kArchXglm,         &kArchQwen3Moe,
    &kArchOlmo2,      &kArchSmolLm3,    &kArchGranite,   &kArchGemma3,       &kArchCohere2,      &kArchGlm4,
    &kArchGraniteMoe, &kArchErnie45Moe, &kArchPhiMoe,    &kArchGlm4Moe,      &kArchSmallThinker, &kArchGptOss,
    &kArchDeepSeek2,  &kArchSeedOss,    &kArchExaone4,   &kArchArcee,        &kArchMistral3,     &kArchErnie45,
    &kArchLfm2,       &kArchLfm2Moe,    &kArchNemotronH, &kArchNemotronHMoe, &kArchQwen3Next,    &kArchQwen35,
    &kArchQwen35Moe,  &kArchBert,       &kArchBitNet,    &kArchGemma4,       &kArchGemma3n,      &kArchNomicBert,
    &kArchTransfoXl,  &kArchModernBert};

bool in_list(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    if (list.substr(0, comma) == word) return true;
    list = comma == list.npos ? std::string_view() : list.substr(comma + 1);
  }
  return false;
}

// A number for all layers, or a list with one for each.
std::vector<size_t> by_layer(const Metadata& meta, const std::string& key, size_t n_layer) {
  const MetaValue* value = meta.find(key);
  if (!value || !std::holds_alternative<MetaArray>(*value)) return {size_t(meta.get_uint(key))};
  std::vector<size_t> out;
  for (const int64_t v : meta.get_ints(key)) {
    if (v < 0) fail(ErrorKind::kFormat, "'{}' holds {}", key, v);
    out.push_back(size_t(v));
  }
  if (out.empty() || (out.size() != n_layer && out.size() != 1))
    fail(ErrorKind::kFormat, "'{}' has {} values, expected one for each of {} layers", key, out.size(), n_layer);
  return out;
}

// What GGUF gives as lists where layers differ.
struct Widths {
  std::vector<size_t> n_head, n_kv_head, n_ff;  // [n_layer], or [1] for all

  Widths(const Metadata& meta, const std::string& arch, size_t n_layer) {
    const auto read = [&](const char* suffix) { return by_layer(meta, arch + suffix, n_layer); };
    n_head = read(".attention.head_count");
    n_kv_head = meta.has(arch + ".attention.head_count_kv") ? read(".attention.head_count_kv") : n_head;
    n_ff = meta.has(arch + ".feed_forward_length") ? read(".feed_forward_length") : std::vector<size_t>{0};
  }
  // The first that is not 0, as layers without the block have it.
  static size_t usual(const std::vector<size_t>& values) {
    const auto found = std::ranges::find_if(values, [](size_t n) { return n > 0; });
    return found == values.end() ? 0 : *found;
  }
  static size_t of(const std::vector<size_t>& values, size_t layer) { return values[values.size() == 1 ? 0 : layer]; }
};

std::vector<float> floats_of(const Tensor& t) {
  std::vector<float> values(t.n_elems());
  codec(t.dtype).decode(t.data.data(), values.data(), values.size());
  return values;
}

RopeConfig rope_config(const ModelFile& file, const std::string& arch, size_t d_head) {
  const Metadata& meta = file.meta;
  RopeConfig rope;
  rope.n_rot = meta.get_uint(arch + ".rope.dimension_count", d_head);
  rope.base = meta.get_float(arch + ".rope.freq_base", 10000.0);
  rope.factor = meta.get_float(arch + ".rope.scaling.factor", meta.get_float(arch + ".rope.scale_linear", 1.0));
  rope.n_ctx_original = meta.get_uint(arch + ".rope.scaling.original_context_length", 0);
  rope.attn_factor = meta.get_float(arch + ".rope.scaling.attn_factor", 1.0);
  const std::string kind = meta.get_string(arch + ".rope.scaling.type", rope.factor != 1.0 ? "linear" : "none");
  if (kind == "linear") {
    rope.scaling = RopeScaling::kLinear;
  } else if (kind == "dynamic") {
    rope.scaling = RopeScaling::kDynamicNtk;
  } else if (kind == "yarn") {
    rope.scaling = RopeScaling::kYarn;
    // What YaRN multiplies by: as the file says, or its own rule, which some models divide out again (DeepSeek's
    // mscale_all_dim).
    const auto own = [&](double multiplier) { return 0.1 * multiplier * std::log(std::max(1.0, rope.factor)) + 1; };
    rope.attn_factor *= meta.get_float(arch + ".rope.scaling.yarn_attn_factor", own(1)) /
                        own(meta.get_float(arch + ".rope.scaling.yarn_log_multiplier", 0.0));
    rope.truncate = meta.get_bool(arch + ".rope.scaling.yarn_truncate", true);
    rope.beta_fast = meta.get_float(arch + ".rope.scaling.yarn_beta_fast", 32.0);
    rope.beta_slow = meta.get_float(arch + ".rope.scaling.yarn_beta_slow", 1.0);
    if (rope.n_ctx_original == 0) rope.n_ctx_original = meta.get_uint(arch + ".context_length");
  } else if (kind == "self-extend") {
    rope.extend.group = meta.get_uint(arch + ".rope.scaling.group_size");
    rope.extend.window = meta.get_uint(arch + ".rope.scaling.window_size");
  } else if (kind != "none" && kind != "longrope") {
    fail(ErrorKind::kUnsupported,
         "'{}.rope.scaling.type' is '{}'; known: none, linear, dynamic, yarn, longrope, self-extend", arch, kind);
  }
  if (const Tensor* t = file.find("rope_freqs.weight")) rope.freq_factors = floats_of(*t);
  if (const Tensor* t = file.find("rope_factors_long.weight")) {
    rope.scaling = RopeScaling::kLongRope;
    rope.long_factors = floats_of(*t);
    rope.short_factors = floats_of(file.get("rope_factors_short.weight"));
    rope.long_attn_factor = meta.get_float(arch + ".rope.scaling.long_attn_factor", 0.0);
  }
  return rope;
}

MoeConfig moe_config(const ModelFile& file, const std::string& arch) {
  MoeConfig moe;
  moe.n_expert = file.meta.get_uint(arch + ".expert_count", 0);
  if (moe.n_expert == 0) return moe;
  moe.n_expert_used = file.meta.get_uint(arch + ".expert_used_count");
  const std::string n_ff = arch + ".expert_feed_forward_length";
  moe.n_ff = file.meta.get_uint(file.meta.has(n_ff) ? n_ff : arch + ".feed_forward_length", 0);
  moe.n_ff_shared = file.meta.get_uint(arch + ".expert_shared_feed_forward_length",
                                       moe.n_ff * file.meta.get_uint(arch + ".expert_shared_count", 0));
  moe.n_latent = file.meta.get_uint(arch + ".moe_latent_size", 0);
  moe.renormalise = file.meta.get_bool(arch + ".expert_weights_norm", true);
  moe.scale = float(file.meta.get_float(arch + ".expert_weights_scale", 1.0));
  moe.n_group = file.meta.get_uint(arch + ".expert_group_count", 1);
  moe.n_group_used = file.meta.get_uint(arch + ".expert_group_used_count", moe.n_group);
  // llama.cpp's numbers: softmax, sigmoid, softmax of the chosen.
  const uint64_t function = file.meta.get_uint(arch + ".expert_gating_func", 1);
  if (function < 1 || function > 3)
    fail(ErrorKind::kUnsupported, "'{}.expert_gating_func' is {}, expected 1 to 3", arch, function);
  if (function == 2) moe.score = RouterScore::kSigmoid;
  if (function == 3) moe.renormalise = true;  // the same, written otherwise
  return moe;
}

}  // namespace

std::span<const Architecture* const> architectures() { return kAll; }

const Architecture& architecture_by_gguf_name(std::string_view name) {
  std::vector<std::string_view> known;
  for (const Architecture* a : kAll) {
    if (name == a->gguf_name) return *a;
    known.push_back(a->gguf_name);
  }
  fail(ErrorKind::kUnsupported, "unknown architecture '{}'; hunch runs {}", name, fmt::join(known, ", "));
}

const Architecture& architecture_by_hf_type(std::string_view model_type) {
  std::vector<std::string_view> known;
  for (const Architecture* a : kAll) {
    if (in_list(a->hf_model_types, model_type)) return *a;
    if (*a->hf_model_types) known.push_back(a->hf_model_types);
  }
  fail(ErrorKind::kUnsupported, "config.json: unknown model_type '{}'; hunch runs {}", model_type,
       fmt::join(known, ", "));
}

void rotate_windowed_layers(ModelConfig& c, double base) {
  RopeConfig windowed;
  windowed.n_rot = c.rope.n_rot;
  windowed.interleaved = c.rope.interleaved;
  windowed.base = base;
  c.more_ropes = {windowed};
}

void default_windows(const ModelFile& file, ModelConfig& c, size_t period, WindowPattern pattern) {
  if (file.meta.has(c.arch + ".attention.sliding_window_pattern")) return;
  const size_t full = pattern == WindowPattern::kLastIsFull ? period - 1 : 0;
  for (size_t layer = full; layer < c.windows.size(); layer += period) c.windows[layer] = 0;
}

void rotate_only_windowed_layers(const ModelFile& file, ModelConfig& c) {
  if (file.meta.has(c.arch + ".rope.layers")) return;
  c.rope_layers.clear();
  for (const size_t window : c.windows) c.rope_layers.push_back(window > 0);
}

void mixers_by_tensors(const ModelFile& file, ModelConfig& c, std::initializer_list<MixerMark> marks) {
  for (size_t layer = 0; layer < std::min<size_t>(c.n_layer, 10000); ++layer) {
    const auto found = std::ranges::find_if(marks, [&](const MixerMark& mark) {
      const std::string name = fmt::format("blk.{}.{}", layer, mark.tensor);
      const std::string matrix = name.substr(0, name.rfind(".weight"));
      return file.find(name) || has_sparse(file, matrix) || has_ordered(file, matrix) || has_rotated(file, matrix);
    });
    c.mixers.push_back(found == marks.end() ? Mixer::kNone : found->mixer);
  }
}

void read_state_sizes(const ModelFile& file, ModelConfig& c) {
  const auto size = [&](const char* name) { return size_t(file.meta.get_uint(c.arch + ".ssm." + name)); };
  RecurrentConfig& r = c.recurrent;
  r.n_taps = size("conv_kernel");
  r.n_head = size("time_step_rank");
  r.n_group = size("group_count");
  r.d_state = size("state_size");
  const size_t width = size("inner_size");
  if (r.n_head == 0 || width % r.n_head != 0)
    fail(ErrorKind::kFormat, "'{}.ssm.inner_size' is {}, expected a multiple of its {} heads", c.arch, width, r.n_head);
  r.d_head = width / r.n_head;
}

ModelConfig config_from_gguf(const ModelFile& file) {
  const std::string arch = file.meta.get_string("general.architecture");
  ModelConfig c = architecture_by_gguf_name(arch).config_from_gguf(file);
  const Widths widths(file.meta, arch, c.n_layer);
  if (const std::string key = arch + ".rope.freq_base_swa"; file.meta.has(key))
    rotate_windowed_layers(c, file.meta.get_float(key));
  if (!c.more_ropes.empty())
    c.more_ropes[0].n_rot = file.meta.get_uint(arch + ".rope.dimension_count_swa", c.more_ropes[0].n_rot);
  const size_t d_windowed = file.meta.get_uint(arch + ".attention.key_length_swa", c.d_head);
  if (file.meta.get_uint(arch + ".attention.value_length_swa", d_windowed) != d_windowed)
    fail(ErrorKind::kUnsupported,
         "keys of {} and values of {} dimensions in layers with a window; hunch wants equal ones", d_windowed,
         file.meta.get_uint(arch + ".attention.value_length_swa"));
  lay_out(c, [&](LayerConfig& l) {
    if (l.window > 0) l.d_head = d_windowed;
    if (!c.more_ropes.empty() && l.window > 0) l.rope = 1;
    if (widths.n_head.size() > 1) l.n_head = Widths::of(widths.n_head, l.index);
    if (widths.n_kv_head.size() > 1) l.n_kv_head = Widths::of(widths.n_kv_head, l.index);
    if (widths.n_ff.size() > 1) l.n_ff = Widths::of(widths.n_ff, l.index);
  });
  validate(c);
  return c;
}

Activation activation_from_name(std::string_view name) {
  if (name == "relu") return Activation::kRelu;
  if (name == "relu2" || name == "squared_relu") return Activation::kReluSquared;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu") return Activation::kGeluErf;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast" || name == "gelu_tanh")
    return Activation::kGeluTanh;
  if (name == "quick_gelu") return Activation::kGeluQuick;
  fail(ErrorKind::kUnsupported,
       "unknown activation '{}'; known: relu, relu2, silu, gelu, gelu_new, gelu_pytorch_tanh, quick_gelu", name);
}

namespace {

// Of each layer, 0 where it sees all tokens; empty where all do. "sliding_window_pattern" says which layers have one:
// for each, or a number n, of n layers all but the last.
std::vector<size_t> windows_of(const ModelFile& file, const std::string& arch, size_t n_layer) {
  const size_t window = file.meta.get_uint(arch + ".attention.sliding_window", 0);
  if (window == 0) return {};
  std::vector<size_t> windows(n_layer, window);
  const std::string key = arch + ".attention.sliding_window_pattern";
  const MetaValue* pattern = file.meta.find(key);
  if (!pattern) return windows;
  std::vector<int64_t> windowed;
  if (std::holds_alternative<MetaArray>(*pattern)) {
    windowed = file.meta.get_ints(key);
  } else {
    const uint64_t n = file.meta.get_uint(key);
    for (size_t layer = 0; layer < n_layer; ++layer) windowed.push_back(n == 0 || layer % n < n - 1);
  }
  if (windowed.size() != n_layer)
    fail(ErrorKind::kFormat, "{} has {} entries, expected one for each of {} layers", key, windowed.size(), n_layer);
  for (size_t layer = 0; layer < n_layer; ++layer)
    if (!windowed[layer]) windows[layer] = 0;
  return windows;
}

}  // namespace

ModelConfig base_config_from_gguf(const ModelFile& file, Activation usual) {
  const Metadata& meta = file.meta;
  ModelConfig c;
  c.arch = meta.get_string("general.architecture");
  c.name = meta.get_string("general.name", "");
  const auto key = [&](const char* suffix) { return c.arch + "." + suffix; };

  c.n_layer = meta.get_uint(key("block_count"));
  // Blocks behind the last that guess tokens beyond the next one: not of this model.
  c.n_layer -= std::min<size_t>(c.n_layer, meta.get_uint(key("nextn_predict_layers"), 0));
  c.n_embd = meta.get_uint(key("embedding_length"));
  c.n_ctx_train = meta.get_uint(key("context_length"));
  const Widths widths(meta, c.arch, c.n_layer);
  c.n_head = Widths::usual(widths.n_head);
  c.n_kv_head = Widths::usual(widths.n_kv_head);
  if (c.n_kv_head == 0 && widths.n_kv_head.size() > 1) c.n_kv_head = c.n_head;  // no layer has attention
  c.n_ff = Widths::usual(widths.n_ff);
  if (c.n_head == 0) fail(ErrorKind::kFormat, "'{}' is 0", key("attention.head_count"));
  c.d_head = meta.get_uint(key("attention.key_length"), c.n_embd / c.n_head);
  if (!meta.has(key("attention.kv_lora_rank")) && meta.get_uint(key("attention.value_length"), c.d_head) != c.d_head)
    fail(ErrorKind::kUnsupported, "keys of {} and values of {} dimensions; hunch wants equal ones", c.d_head,
         meta.get_uint(key("attention.value_length")));
  const Tensor& embedding = file.get("token_embd.weight");
  c.n_vocab = embedding.rows();
  c.n_embd_word = embedding.cols();
  c.attn_scale = float(meta.get_float(key("attention.scale"), 1 / std::sqrt(double(c.d_head))));

  if (meta.has(key("attention.layer_norm_rms_epsilon"))) {
    c.norm = NormKind::kRms;
    c.norm_eps = float(meta.get_float(key("attention.layer_norm_rms_epsilon")));
  } else {
    c.norm_eps = float(meta.get_float(key("attention.layer_norm_epsilon"), 1e-5));
  }
  c.rope = rope_config(file, c.arch, c.d_head);
  c.clip_qkv = float(meta.get_float(key("attention.clamp_kqv"), 0.0));
  c.alibi_max_bias = meta.get_float(key("attention.max_alibi_bias"), 8.0);
  c.attn_soft_cap = float(meta.get_float(key("attn_logit_softcapping"), 0.0));
  c.logit_soft_cap = float(meta.get_float(key("final_logit_softcapping"), 0.0));
  c.logit_scale = float(meta.get_float(key("logit_scale"), 1.0));
  c.embedding_scale = float(meta.get_float(key("embedding_scale"), 1.0));
  c.residual_scale = float(meta.get_float(key("residual_scale"), 1.0));
  c.temperature.beta = float(meta.get_float(key("attention.temperature_scale"), 0.0));
  if (c.temperature.beta != 0) c.temperature.n_floor = std::max<size_t>(1, c.rope.n_ctx_original);
  if (meta.has(key("rope.layers")))
    for (const int64_t rotates : meta.get_ints(key("rope.layers"))) c.rope_layers.push_back(rotates != 0);
  c.windows = windows_of(file, c.arch, c.n_layer);
  c.causal = meta.get_bool(key("attention.causal"), true);
  if (const std::string pooling = key("pooling_type"); meta.has(pooling)) {
    const uint64_t kind = meta.get_uint(pooling);
    if (kind > uint64_t(PoolingKind::kRank))
      fail(ErrorKind::kUnsupported, "'{}' is {}, expected 0 to 4: none, mean, cls, last, rank", pooling, kind);
    c.pooling = PoolingKind(kind);
  }
  if (meta.has(key("activation_sparsity_scale"))) c.gate_cutoffs = meta.get_floats(key("activation_sparsity_scale"));
  c.n_borrowing = meta.get_uint(key("attention.shared_kv_layers"), 0);
  c.n_per_layer = meta.get_uint(key("embedding_length_per_layer_input"), 0);
  c.activation = usual;
  for (const char* name : {"hidden_activation", "activation"})  // where both are present, hunch wrote the latter
    if (meta.has(key(name))) c.activation = activation_from_name(meta.get_string(key(name)));
  c.moe = moe_config(file, c.arch);
  c.activation_details.limit = float(meta.get_float(key("activation_limit"), 0.0));
  c.activation_details.threshold = float(meta.get_float(key("activation_threshold"), 0.0));
  if (meta.has(key("up_activation"))) {
    const std::string up = meta.get_string(key("up_activation"));
    if (up != "relu") fail(ErrorKind::kUnsupported, "'{}' is '{}', expected relu", key("up_activation"), up);
    c.activation_details.relu_up = true;
  }
  if (c.moe.n_expert > 0 && c.n_layer < 10000)
    for (size_t layer = 0; layer < c.n_layer; ++layer)
      c.moe_layers.push_back(file.find(fmt::format("blk.{}.ffn_gate_inp.weight", layer)) != nullptr);
  return c;
}

}  // namespace hunch
