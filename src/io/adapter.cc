#include "io/adapter.h"

#include "base/error.h"
#include "base/file.h"
#include "io/gguf.h"
#include "io/hf_folder.h"
#include "io/naming.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;

AdapterFile open_folder(const fs::path& path, const Stop* stop) {
  const std::string config = read_file(path / "adapter_config.json", kMaxConfigBytes);
  for (const char* name : {"adapter_model.safetensors", "adapter_model.bin", "adapter.safetensors"}) {
    std::error_code ignored;
    if (!fs::exists(path / name, ignored)) continue;
    std::vector<std::shared_ptr<const void>> owners;
    const std::vector<Tensor> tensors = open_weight_file(path / name, owners, stop);
    return naming(path, [&] { return parse_peft_adapter(config, tensors); });
  }
  fail(
      ErrorKind::kNotFound,
      "'{}' has no adapter weights: expected adapter_model.safetensors or adapter_model.bin beside adapter_config.json",
      path.string());
}

}  // namespace

AdapterFile open_adapter(const fs::path& path, const Stop* stop) {
  std::error_code ignored;
  AdapterFile out;
  if (fs::is_directory(path, ignored)) {
    out = open_folder(path, stop);
  } else {
    const ModelFile file = open_gguf(path);
    out = naming(path, [&] { return parse_gguf_adapter(file); });
  }
  if (out.name.empty()) {
    const fs::path clean = fs::absolute(path).lexically_normal();
    out.name = (clean.has_filename() ? clean : clean.parent_path()).stem().string();
  }
  return out;
}

}  // namespace hunch
