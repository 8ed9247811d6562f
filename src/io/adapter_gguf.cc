#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "io/adapter.h"
#include "io/adapter_tensors.h"
#include "io/printable.h"

namespace hunch {
namespace {

constexpr std::string_view kKnownKeys[] = {"adapter.type", "adapter.lora.alpha", "adapter.lora.task_name",
                                           "adapter.lora.prompt_prefix"};

void check_kind(const Metadata& meta) {
  const std::string type = meta.get_string("general.type", "");
  if (type != "adapter")
    fail(ErrorKind::kFormat, "general.type is '{}'; an adapter's is 'adapter' (is this a model?)", printable(type));
  const std::string method = meta.get_string("adapter.type", "");
  if (method != "lora") fail(ErrorKind::kUnsupported, "adapter.type is '{}'; hunch reads 'lora'", printable(method));
  for (const std::string& key : meta.keys())
    if (key.starts_with("adapter.") && std::ranges::find(kKnownKeys, key) == std::end(kKnownKeys))
      fail(ErrorKind::kUnsupported, "the adapter sets '{}', which hunch does not know", printable(key));
}

}  // namespace

AdapterFile parse_gguf_adapter(const ModelFile& file) {
  check_kind(file.meta);
  AdapterFile out;
  out.name = file.meta.get_string("general.name", "");
  out.architecture = file.meta.get_string("general.architecture");
  const double alpha = file.meta.get_float("adapter.lora.alpha", 0.0);
  PartsByName found;
  for (const Tensor& tensor : file.tensors) {
    const bool is_A = tensor.name.ends_with(".lora_a");
    if (!is_A && !tensor.name.ends_with(".lora_b"))
      fail(ErrorKind::kUnsupported, "tensor '{}' is neither NAME.lora_a nor NAME.lora_b", printable(tensor.name));
    AdapterParts& parts = found[tensor.name.substr(0, tensor.name.size() - std::string_view(".lora_a").size())];
    set_part(is_A ? parts.A : parts.B, tensor);
  }
  if (found.empty()) fail(ErrorKind::kFormat, "the adapter holds no tensors");
  for (auto& [name, parts] : found) {
    // llama.cpp's converter transposes this one's A: each token's row lies together.
    parts.is_embedding = name == "token_embd.weight";
    AdapterMatrix matrix = build_matrix(name, parts, /*flipped=*/parts.is_embedding);
    matrix.tensor = name;
    matrix.scale = alpha == 0 ? 1.0f : float(alpha / double(matrix.rank));
    if (!std::isfinite(matrix.scale))
      fail(ErrorKind::kFormat, "adapter.lora.alpha is {}; expected a finite number", alpha);
    out.matrices.push_back(std::move(matrix));
  }
  return out;
}

}  // namespace hunch
