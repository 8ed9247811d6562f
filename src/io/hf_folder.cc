#include "io/hf_folder.h"

#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "io/align_tensors.h"
#include "io/hf_config.h"
#include "io/naming.h"
#include "io/printable.h"
#include "io/safetensors.h"
#include "io/torch_checkpoint.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;
constexpr uint64_t kMaxIndexBytes = uint64_t{256} << 20;

// A shard is a plain file name: what an index says must not reach outside the model's folder.
void check_shard_name(const std::string& shard) {
  const bool plain = !shard.empty() && shard != "." && shard != ".." &&
                     shard.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
  const fs::path extension = fs::path(shard).extension();
  if (!plain)
    fail(ErrorKind::kFormat, "shard '{}' is not a plain file name in the model's folder; refused", printable(shard));
  if (extension != ".safetensors" && extension != ".bin")
    fail(ErrorKind::kFormat, "shard '{}' is neither .safetensors nor .bin", printable(shard));
}

// shard -> the tensors that the index says it holds.
std::map<std::string, std::vector<std::string>> read_index(const fs::path& path) {
  using nlohmann::json;
  const std::string text = read_file(path, kMaxIndexBytes);
  const json index = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object() || map->empty())
    fail(ErrorKind::kFormat, "this is not a shard index: expected a JSON object with a 'weight_map'");
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string()) fail(ErrorKind::kFormat, "the shard of tensor '{}' is not a string", printable(tensor));
    const std::string& name = shard.get_ref<const std::string&>();
    const auto [it, is_new] = shards.try_emplace(name);
    if (is_new) check_shard_name(name);
    it->second.push_back(tensor);
  }
  return shards;
}

// Takes from every shard what the index places there. A tensor that no shard is said to hold is
// taken where it is found, as Hugging Face's own loader does; a second copy of one is left out.
void open_sharded(const fs::path& index_path, HfFolder& folder, const Stop* stop) {
  const auto shards = naming(index_path, [&] { return read_index(index_path); });
  std::map<std::string_view, std::string_view> shard_of;
  for (const auto& [shard, names] : shards)
    for (const std::string& name : names) shard_of[name] = shard;

  std::map<std::string, std::string_view> taken;  // tensor -> its shard
  for (const auto& [shard, names] : shards) {
    for (Tensor& tensor : open_weight_file(folder.path / shard, folder.owners, stop, &folder.float8)) {
      const auto it = shard_of.find(tensor.name);
      const bool elsewhere = it != shard_of.end() && it->second != shard;
      if (elsewhere || !taken.emplace(tensor.name, shard).second) continue;
      folder.tensors.push_back(std::move(tensor));
    }
    for (const std::string& name : names)
      if (!taken.count(name))
        fail(ErrorKind::kFormat, "'{}' has no tensor '{}', which '{}' says it holds", (folder.path / shard).string(),
             printable(name), index_path.filename().string());
  }
}

}  // namespace

std::vector<Tensor> open_weight_file(const fs::path& path, std::vector<std::shared_ptr<const void>>& owners,
                                     const Stop* stop, std::set<std::string>* float8) {
  auto file = std::make_shared<MappedFile>(path);
  return naming(path, [&] {
    std::vector<Tensor> tensors;
    if (path.extension() == ".safetensors") {
      tensors = parse_safetensors(file->bytes(), float8);
    } else {
      TorchCheckpoint checkpoint = parse_torch_checkpoint(file->bytes(), stop);
      tensors = std::move(checkpoint.tensors);
      owners.insert(owners.end(), checkpoint.owners.begin(), checkpoint.owners.end());
    }
    align_tensors(tensors, owners);
    owners.push_back(file);
    return tensors;
  });
}

bool is_hf_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path / "config.json", ignored);
}

HfFolder open_hf_folder(const fs::path& path, const Stop* stop) {
  HfFolder folder;
  folder.path = path;
  const fs::path config = path / "config.json";
  folder.config_json = naming(config, [&] { return normalised_hf_config(read_file(config, kMaxConfigBytes)); });
  for (const char* name : {"quantize_config.json", "quant_config.json"}) {
    std::error_code ignored;
    if (folder.quantiser_json.empty() && fs::is_regular_file(path / name, ignored))
      folder.quantiser_json = read_file(path / name, kMaxConfigBytes);
  }
  for (const char* name : {"model.safetensors", "pytorch_model.bin"}) {
    std::error_code ignored;
    if (fs::exists(path / name, ignored)) {
      folder.tensors = open_weight_file(path / name, folder.owners, stop, &folder.float8);
      return folder;
    }
    const std::string index = std::string(name) + ".index.json";
    if (fs::exists(path / index, ignored)) {
      open_sharded(path / index, folder, stop);
      return folder;
    }
  }
  fail(ErrorKind::kNotFound,
       "'{}' has no weights: expected model.safetensors, pytorch_model.bin, or the index of their shards "
       "(*.index.json); is the download complete?",
       path.string());
}

}  // namespace hunch
