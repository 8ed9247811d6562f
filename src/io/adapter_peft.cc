#include <cmath>

#include "base/error.h"
#include "io/adapter.h"
#include "io/adapter_tensors.h"
#include "io/peft_config.h"
#include "io/printable.h"

namespace hunch {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";

// Cuts `suffix` off the end of `name` if it is there.
bool cut(std::string_view suffix, std::string_view& name) {
  if (!name.ends_with(suffix)) return false;
  name.remove_suffix(suffix.size());
  return true;
}

// Embeddings that PEFT saves whole of its own accord when they are adapted or were resized.
bool is_embedding_layer(std::string_view module) {
  return is_or_ends_with(module, "embed_tokens") || is_or_ends_with(module, "lm_head");
}

void add_replaced(std::string_view module, std::string_view attribute, const Tensor& tensor, AdapterFile& out) {
  const std::string name = std::string(module) + "." + std::string(attribute);
  for (const ReplacedTensor& other : out.replaced)
    if (other.tensor == name) fail(ErrorKind::kFormat, "the adapter holds '{}' twice", printable(name));
  out.replaced.push_back({name, tensor.shape, floats_of(tensor)});
}

// A tensor that is no half of a matrix.
void sort_other(std::string_view module, const PeftConfig& config, const Tensor& tensor, AdapterFile& out) {
  const std::string shown = printable(tensor.name);
  if (cut(".lora_A.bias", module) || cut(".lora_B.bias", module))
    fail(ErrorKind::kUnsupported, "tensor '{}': biases of the adapter's own are not supported", shown);
  if (cut(".base_layer.weight", module) && is_embedding_layer(module))
    return add_replaced(module, "weight", tensor, out);
  const size_t dot = module.rfind('.');
  const std::string_view attribute = dot == module.npos ? "" : module.substr(dot + 1);
  const std::string_view owner = dot == module.npos ? "" : module.substr(0, dot);
  if (config.saves(owner) || (attribute == "weight" && is_embedding_layer(owner)))
    return add_replaced(owner, attribute, tensor, out);
  if (attribute == "bias")
    fail(ErrorKind::kUnsupported,
         "tensor '{}': biases that were trained with the adapter are not supported (train with "
         "bias=\"none\")",
         shown);
  fail(ErrorKind::kUnsupported, "tensor '{}' is no part of LoRA that hunch knows, and modules_to_save does not name it",
       shown);
}

void sort_tensor(const Tensor& tensor, const PeftConfig& config, PartsByName& parts, AdapterFile& out) {
  std::string_view module = tensor.name;
  if (module.starts_with(kPrefix)) module.remove_prefix(kPrefix.size());
  const auto part_of = [&](std::string_view name) -> AdapterParts& { return parts[std::string(name)]; };
  std::string_view name = module;
  if (cut(".lora_A.weight", name)) return set_part(part_of(name).A, tensor);
  if (cut(".lora_B.weight", name)) return set_part(part_of(name).B, tensor);
  if (cut(".lora_magnitude_vector", name) || cut(".lora_magnitude_vector.weight", name))
    return set_part(part_of(name).magnitude, tensor);
  const bool is_A = cut(".lora_embedding_A", name);
  if (!is_A && !cut(".lora_embedding_B", name)) return sort_other(module, config, tensor, out);
  AdapterParts& embedding = part_of(name);
  embedding.is_embedding = true;
  set_part(is_A ? embedding.A : embedding.B, tensor);
}

// IA3's factors of a module (Liu et al. 2022, arXiv:2205.05638, section 3.3).
void add_scaled(const Tensor& tensor, const PeftConfig& config, AdapterFile& out) {
  std::string_view module = tensor.name;
  if (module.starts_with(kPrefix)) module.remove_prefix(kPrefix.size());
  if (!cut(".ia3_l", module))
    fail(ErrorKind::kUnsupported, "tensor '{}' is no part of IA3 that hunch knows", printable(tensor.name));
  if (!config.targets(module))
    fail(ErrorKind::kFormat, "the adapter holds '{}', which target_modules leave out", printable(module));
  const bool inputs = config.scales_inputs(module);
  const std::vector<uint64_t> expected =
      inputs ? std::vector<uint64_t>{1, tensor.n_elems()} : std::vector<uint64_t>{tensor.n_elems(), 1};
  if (tensor.shape != expected || tensor.n_elems() == 0)
    fail(ErrorKind::kFormat, "'{}' is [{}], expected factors of {}", printable(tensor.name),
         fmt::join(tensor.shape, ", "), inputs ? "inputs, [1, n]" : "outputs, [n, 1]");
  const std::string name = std::string(module) + ".weight";
  for (const ScaledMatrix& other : out.scaled)
    if (other.tensor == name) fail(ErrorKind::kFormat, "the adapter holds '{}' twice", printable(name));
  out.scaled.push_back({name, inputs, floats_of(tensor)});
}

void add_virtual_tokens(std::span<const Tensor> tensors, const PeftConfig& config, AdapterFile& out) {
  for (const Tensor& tensor : tensors) {
    if (tensor.name != "prompt_embeddings" || out.virtual_tokens.n > 0)
      fail(ErrorKind::kUnsupported, "tensor '{}' is no part of prompt or prefix tuning that hunch knows",
           printable(tensor.name));
    if (tensor.shape.size() != 2 || tensor.shape[0] != config.n_virtual_tokens || tensor.shape[1] == 0)
      fail(ErrorKind::kFormat, "'{}' is [{}], expected a row for each of {} virtual tokens", printable(tensor.name),
           fmt::join(tensor.shape, ", "), config.n_virtual_tokens);
    out.virtual_tokens = {size_t(config.n_virtual_tokens), config.method == PeftMethod::kPrefixTuning,
                          floats_of(tensor)};
  }
  if (out.virtual_tokens.n == 0) fail(ErrorKind::kFormat, "the adapter holds no 'prompt_embeddings'");
}

void add_magnitude(const std::string& module, const AdapterParts& parts, const PeftConfig& config, AdapterMatrix& out) {
  if (config.dora != (parts.magnitude != nullptr))
    fail(ErrorKind::kFormat, "'{}' has {} magnitudes, but adapter_config.json says use_dora: {}", printable(module),
         parts.magnitude ? "DoRA's" : "no", config.dora);
  if (!parts.magnitude) return;
  if (parts.is_embedding)
    fail(ErrorKind::kUnsupported, "'{}': DoRA on an embedding is not supported", printable(module));
  if (parts.magnitude->n_elems() != out.n_out)
    fail(ErrorKind::kFormat, "'{}' has {} magnitudes for {} outputs", printable(module), parts.magnitude->n_elems(),
         out.n_out);
  out.magnitude = floats_of(*parts.magnitude);
}

}  // namespace

AdapterFile parse_peft_adapter(std::string_view config_json, std::span<const Tensor> tensors) {
  const PeftConfig config = parse_peft_config(config_json);
  AdapterFile out;
  PartsByName found;
  if (config.n_virtual_tokens > 0) {
    add_virtual_tokens(tensors, config, out);
    return out;
  }
  if (config.method == PeftMethod::kIa3) {
    for (const Tensor& tensor : tensors) add_scaled(tensor, config, out);
    if (out.scaled.empty()) fail(ErrorKind::kFormat, "the adapter holds no tensors");
    return out;
  }
  for (const Tensor& tensor : tensors) sort_tensor(tensor, config, found, out);
  if (found.empty() && out.replaced.empty()) fail(ErrorKind::kFormat, "the adapter holds no tensors");
  for (const auto& [module, parts] : found) {
    AdapterMatrix matrix = build_matrix(module, parts, /*flipped=*/false);
    if (!config.targets(module))
      fail(ErrorKind::kFormat, "the adapter holds '{}', which target_modules or layers_to_transform leave out",
           printable(module));
    if (matrix.rank != config.rank_of(module))
      fail(ErrorKind::kFormat, "'{}' has rank {}, but adapter_config.json says {}", printable(module), matrix.rank,
           config.rank_of(module));
    matrix.tensor = module + ".weight";
    matrix.scale = float(config.scale_of(module));
    if (!std::isfinite(matrix.scale))
      fail(ErrorKind::kFormat, "'{}': lora_alpha is too large for a float", printable(module));
    add_magnitude(module, parts, config, matrix);
    out.matrices.push_back(std::move(matrix));
  }
  return out;
}

}  // namespace hunch
