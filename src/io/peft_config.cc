#include "io/peft_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/read_number.h"
#include "io/printable.h"

namespace hunch {
namespace {

using nlohmann::ordered_json;  // the order of the patterns counts

constexpr uint64_t kMaxRank = uint64_t{1} << 20;

// Options with no say in what a finished adapter computes, as of PEFT 0.17, and those that are read below.
constexpr std::string_view kHarmless[] = {"arrow_config",
                                          "auto_mapping",
                                          "base_model_name_or_path",
                                          "corda_config",
                                          "encoder_hidden_size",
                                          "ensure_weight_tying",
                                          "eva_config",
                                          "exclude_modules",
                                          "fan_in_fan_out",
                                          "inference_mode",
                                          "init_ia3_weights",
                                          "loftq_config",
                                          "lora_dropout",
                                          "lora_ga_config",
                                          "megatron_config",
                                          "megatron_core",
                                          "num_attention_heads",
                                          "num_layers",
                                          "peft_version",
                                          "prefix_projection",
                                          "prompt_tuning_init",
                                          "prompt_tuning_init_text",
                                          "qalora_group_size",
                                          "revision",
                                          "runtime_config",
                                          "task_type",
                                          "token_dim",
                                          "tokenizer_kwargs",
                                          "tokenizer_name_or_path"};
constexpr std::string_view kRead[] = {"alpha_pattern",
                                      "bias",
                                      "init_lora_weights",
                                      "layers_pattern",
                                      "layers_to_transform",
                                      "feedforward_modules",
                                      "lora_alpha",
                                      "lora_bias",
                                      "modules_to_save",
                                      "num_transformer_submodules",
                                      "num_virtual_tokens",
                                      "peft_type",
                                      "r",
                                      "rank_pattern",
                                      "target_modules",
                                      "use_dora",
                                      "use_rslora"};

// Deep nesting has no business in a config, and messages and copies of it recurse.
ordered_json parse_object(std::string_view text) {
  constexpr int kMaxDepth = 16;
  const auto watch = [](int depth, ordered_json::parse_event_t, ordered_json&) {
    if (depth > kMaxDepth) fail(ErrorKind::kFormat, "adapter_config.json is nested too deeply");
    return true;
  };
  const ordered_json config = ordered_json::parse(text, watch, /*allow_exceptions=*/false);
  if (!config.is_object()) fail(ErrorKind::kFormat, "adapter_config.json is not a JSON object");
  return config;
}

std::string shown(const ordered_json& value) {
  return printable(value.dump(-1, ' ', true, ordered_json::error_handler_t::replace));
}

// nullptr where the key is absent or null.
const ordered_json* find(const ordered_json& config, const char* key) {
  const auto it = config.find(key);
  return it == config.end() || it->is_null() ? nullptr : &*it;
}

[[noreturn]] void wrong(const char* key, const char* expected, const ordered_json& found) {
  fail(ErrorKind::kFormat, "'{}' in adapter_config.json is {}; expected {}", key, shown(found), expected);
}

bool read_bool(const ordered_json& config, const char* key) {
  const ordered_json* value = find(config, key);
  if (value && !value->is_boolean()) wrong(key, "true or false", *value);
  return value && value->get<bool>();
}

uint64_t rank_from(const ordered_json& value, const char* key) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() < 1 || value.get<uint64_t>() > kMaxRank)
    wrong(key, "a rank of at least 1", value);
  return value.get<uint64_t>();
}

double alpha_from(const ordered_json& value, const char* key) {
  if (!value.is_number() || !std::isfinite(value.get<double>())) wrong(key, "a number", value);
  return value.get<double>();
}

// A name, or a list of names.
std::vector<std::string> read_names(const ordered_json& config, const char* key) {
  std::vector<std::string> names;
  const ordered_json* value = find(config, key);
  if (!value) return names;
  for (const ordered_json& item : value->is_array() ? *value : ordered_json::array({*value})) {
    if (!item.is_string()) wrong(key, "names of modules", *value);
    names.push_back(item.get<std::string>());
  }
  return names;
}

// {"end of a module's path": value}. PEFT takes keys for regular expressions; plain names need none.
template <class Value>
void read_pattern(const ordered_json& config, const char* key, Value (*value_from)(const ordered_json&, const char*),
                  std::vector<std::pair<std::string, Value>>& out) {
  const ordered_json* pattern = find(config, key);
  if (!pattern) return;
  if (!pattern->is_object()) wrong(key, "an object", *pattern);
  for (const auto& [name, value] : pattern->items()) {
    if (name.find_first_of("\\^$*+?()[]{}|") != std::string::npos)
      fail(ErrorKind::kUnsupported,
           "'{}' in adapter_config.json has the regular expression '{}'; hunch knows plain names", key,
           printable(name));
    out.emplace_back(name, value_from(value, key));
  }
}

void read_layers(const ordered_json& config, PeftConfig& out) {
  constexpr const char* kKey = "layers_to_transform";
  out.layers_pattern = read_names(config, "layers_pattern");
  std::erase(out.layers_pattern, "");
  const ordered_json* layers = find(config, kKey);
  if (!layers || (layers->is_array() && layers->empty())) return;
  out.layers.emplace();
  for (const ordered_json& layer : layers->is_array() ? *layers : ordered_json::array({*layers})) {
    if (!layer.is_number_unsigned()) wrong(kKey, "numbers of layers", *layers);
    out.layers->push_back(layer.get<uint64_t>());
  }
}

// Some initialisations leave the base model changed; an adapter that says so belongs to those weights, not to the
// base's.
void check_initialisation(const ordered_json& config) {
  const ordered_json* value = find(config, "init_lora_weights");
  if (!value || value->is_boolean() || *value == "gaussian" || *value == "eva" || *value == "orthogonal") return;
  fail(ErrorKind::kUnsupported,
       "the adapter was initialised by {}, which changes the base model; convert it to plain LoRA (PEFT: "
       "save_pretrained "
       "with path_initial_model_for_weight_conversion)",
       shown(*value));
}

bool is_set(const ordered_json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value != 0;
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return !value.empty();  // null is empty
}

void check_other_options(const ordered_json& config) {
  for (const auto& [key, value] : config.items()) {
    if (std::ranges::count(kHarmless, std::string_view(key)) || std::ranges::count(kRead, std::string_view(key)))
      continue;
    if (is_set(value))
      fail(ErrorKind::kUnsupported,
           "adapter_config.json sets '{}' to {}, which hunch does not know; take it out if it "
           "changes nothing",
           printable(key), shown(value));
  }
}

constexpr std::pair<std::string_view, PeftMethod> kMethods[] = {{"LORA", PeftMethod::kLora},
                                                                {"IA3", PeftMethod::kIa3},
                                                                {"PROMPT_TUNING", PeftMethod::kPromptTuning},
                                                                {"PREFIX_TUNING", PeftMethod::kPrefixTuning}};

PeftMethod read_method(const ordered_json& config) {
  const ordered_json* type = find(config, "peft_type");
  if (!type && find(config, "model_class"))
    fail(ErrorKind::kUnsupported,
         "this is a bottleneck or other adapter of the adapters library ('config'), not PEFT's "
         "LoRA; hunch reads LoRA, rsLoRA, DoRA and IA3");
  if (!type || !type->is_string())
    fail(ErrorKind::kFormat, "this is not PEFT's adapter_config.json: it has no 'peft_type'");
  const auto method = std::ranges::find_if(kMethods, [&](const auto& m) { return *type == m.first; });
  if (method == std::end(kMethods))
    fail(ErrorKind::kUnsupported,
         "this is a {} adapter; hunch reads LORA (LoRA, rsLoRA and DoRA), IA3, PROMPT_TUNING and PREFIX_TUNING",
         shown(*type));
  if (const ordered_json* bias = find(config, "bias");
      bias && *bias != "none" && *bias != "all" && *bias != "lora_only")
    wrong("bias", "\"none\", \"all\" or \"lora_only\"", *bias);
  if (read_bool(config, "lora_bias"))
    fail(ErrorKind::kUnsupported, "the adapter has biases of its own ('lora_bias'), which hunch does not add");
  check_initialisation(config);
  check_other_options(config);
  return method->second;
}

// Some of prompt and prefix tuning; what a projection made of them is what PEFT saves.
uint64_t read_virtual_tokens(const ordered_json& config) {
  constexpr const char* kKey = "num_virtual_tokens";
  constexpr uint64_t kMost = 1 << 20;
  const ordered_json* n = find(config, kKey);
  if (!n) fail(ErrorKind::kFormat, "adapter_config.json has no '{}'", kKey);
  if (!n->is_number_unsigned() || n->get<uint64_t>() < 1 || n->get<uint64_t>() > kMost)
    wrong(kKey, "a number of tokens, at least 1", *n);
  if (const ordered_json* parts = find(config, "num_transformer_submodules"); parts && *parts != 1)
    fail(ErrorKind::kUnsupported, "the adapter is for a model of {} parts, encoder and decoder; hunch has decoders",
         shown(*parts));
  return n->get<uint64_t>();
}

// The number in `module` that follows layers_pattern, or the last one that something follows.
std::optional<uint64_t> layer_of(std::string_view module, const std::vector<std::string>& before) {
  std::optional<uint64_t> found;
  std::string_view last;
  for (size_t begin = 0, dot; (dot = module.find('.', begin)) != std::string_view::npos; begin = dot + 1) {
    const std::string_view part = module.substr(begin, dot - begin);
    uint64_t number = 0;
    if (read_number(part, number) && begin > 0 && (before.empty() || std::ranges::count(before, last))) found = number;
    last = part;
  }
  return found;
}

}  // namespace

bool is_or_ends_with(std::string_view module, std::string_view name) {
  if (!module.ends_with(name)) return false;
  return module.size() == name.size() || module[module.size() - name.size() - 1] == '.';
}

uint64_t PeftConfig::rank_of(std::string_view module) const {
  const auto it = std::ranges::find_if(rank_pattern, [&](const auto& p) { return is_or_ends_with(module, p.first); });
  return it == rank_pattern.end() ? r : it->second;
}

double PeftConfig::scale_of(std::string_view module) const {
  const auto it = std::ranges::find_if(alpha_pattern, [&](const auto& p) { return is_or_ends_with(module, p.first); });
  const double rank = double(rank_of(module));
  return (it == alpha_pattern.end() ? alpha : it->second) / (rslora ? std::sqrt(rank) : rank);
}

bool PeftConfig::targets(std::string_view module) const {
  if (!target_modules) return true;
  const auto named = [&](const std::string& name) { return is_or_ends_with(module, name); };
  if (std::ranges::count(*target_modules, module)) return true;  // a full path needs no layer
  if (std::ranges::none_of(*target_modules, named)) return false;
  const std::optional<uint64_t> layer = layers ? layer_of(module, layers_pattern) : std::nullopt;
  return !layers || (layer && std::ranges::count(*layers, *layer));
}

bool PeftConfig::saves(std::string_view module) const {
  return std::ranges::any_of(modules_to_save, [&](const std::string& name) { return is_or_ends_with(module, name); });
}

bool PeftConfig::scales_inputs(std::string_view module) const {
  return std::ranges::any_of(feedforward, [&](const std::string& name) { return is_or_ends_with(module, name); });
}

PeftConfig parse_peft_config(std::string_view text) {
  const ordered_json config = parse_object(text);
  PeftConfig out;
  out.method = read_method(config);
  if (out.method == PeftMethod::kPromptTuning || out.method == PeftMethod::kPrefixTuning) {
    out.n_virtual_tokens = read_virtual_tokens(config);
    return out;
  }
  if (out.method == PeftMethod::kIa3) {
    out.feedforward = read_names(config, "feedforward_modules");
    if (const ordered_json* targets = find(config, "target_modules"); targets && targets->is_array())
      out.target_modules = read_names(config, "target_modules");
    return out;
  }
  for (const char* key : {"r", "lora_alpha"})
    if (!find(config, key)) fail(ErrorKind::kFormat, "adapter_config.json has no '{}'", key);
  out.r = rank_from(*find(config, "r"), "r");
  out.alpha = alpha_from(*find(config, "lora_alpha"), "lora_alpha");
  out.rslora = read_bool(config, "use_rslora");
  out.dora = read_bool(config, "use_dora");
  read_bool(config, "fan_in_fan_out");  // tells how the base stores its weights, which its reader knows
  read_pattern<uint64_t>(config, "rank_pattern", rank_from, out.rank_pattern);
  read_pattern<double>(config, "alpha_pattern", alpha_from, out.alpha_pattern);
  if (const ordered_json* targets = find(config, "target_modules"); targets && targets->is_array())
    out.target_modules = read_names(config, "target_modules");
  read_layers(config, out);
  out.modules_to_save = read_names(config, "modules_to_save");
  return out;
}

}  // namespace hunch
