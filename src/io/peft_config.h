// adapter_config.json of Hugging Face's PEFT, as far as it says how LoRA, IA3, prompt and prefix tuning are computed.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hunch {

enum class PeftMethod : uint8_t { kLora, kIa3, kPromptTuning, kPrefixTuning };

// Modules are named by their path in the base model, without "base_model.model.": "model.layers.0.mlp.up_proj".
struct PeftConfig {
  PeftMethod method = PeftMethod::kLora;
  uint64_t n_virtual_tokens = 0;         // of prompt and prefix tuning
  std::vector<std::string> feedforward;  // of IA3: modules whose inputs are scaled
  uint64_t r = 0;
  double alpha = 0;
  bool rslora = false, dora = false;
  // Exceptions, first match wins: the key is a module, or the end of its path after a dot.
  std::vector<std::pair<std::string, uint64_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;
  std::optional<std::vector<std::string>> target_modules;  // names or ends; none: a regular expression, or "all-linear"
  std::optional<std::vector<uint64_t>> layers;             // layers_to_transform
  std::vector<std::string> layers_pattern;  // what precedes the layer's number in a path; empty: anything
  std::vector<std::string> modules_to_save;

  uint64_t rank_of(std::string_view module) const;
  double scale_of(std::string_view module) const;  // alpha / rank or alpha / sqrt(rank)
  // False when the config says that the module is not adapted.
  bool targets(std::string_view module) const;
  bool saves(std::string_view module) const;
  bool scales_inputs(std::string_view module) const;
};

// Parses the file's text. Throws Error{kFormat} for what is no such config and Error{kUnsupported}, naming it, for
// methods and options that change the computation in ways hunch does not know. Options that only concern training are
// ignored; an unknown option is refused unless it is null, false, zero or empty.
PeftConfig parse_peft_config(std::string_view text);

// Whether `module` is `name` or ends with it after a dot.
bool is_or_ends_with(std::string_view module, std::string_view name);

}  // namespace hunch
