// A Hugging Face model folder, read but not yet interpreted: what the files say, under HF's names.
// The architecture files in model/ turn it into a ModelFile.
#pragma once
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "base/stop.h"
#include "io/model_file.h"

namespace hunch {

struct HfFolder {
  std::filesystem::path path;
  std::string config_json;       // text of config.json, in one spelling (io/hf_config.h)
  std::string quantiser_json;    // text of quantize_config.json or quant_config.json, where there is one
  std::vector<Tensor> tensors;   // of model.safetensors (single or sharded by its index) or pytorch_model*.bin
  std::set<std::string> float8;  // names of tensors of F8_E4M3, which are i8 here
  std::vector<std::shared_ptr<const void>> owners;
  // Of matrices that were decoded to blocks whose columns stand in another order (io/quantised_folder.h): by name.
  std::map<std::string, std::vector<uint32_t>, std::less<>> orders = {};
};

// True when the folder holds a config.json.
bool is_hf_folder(const std::filesystem::path& path);

// Opens the folder: safetensors preferred over .bin, shards joined through *.index.json (a shard
// named outside the folder is refused), weights memory-mapped. Messages name the file. Throws Error{kInterrupted} when
// `stop` asks for it.
HfFolder open_hf_folder(const std::filesystem::path& path, const Stop* stop = nullptr);

// Maps one weight file (.safetensors; anything else is read as a PyTorch checkpoint) and returns its tensors; what
// keeps them alive is added to `owners`, `float8` as parse_safetensors() says. Messages name the file.
std::vector<Tensor> open_weight_file(const std::filesystem::path& path,
                                     std::vector<std::shared_ptr<const void>>& owners, const Stop* stop = nullptr,
                                     std::set<std::string>* float8 = nullptr);

}  // namespace hunch
