// A Hugging Face model folder, read but not yet interpreted: what the files say, under HF's names.
// The architecture files in model/ turn it into a ModelFile.
#pragma once
#include <filesystem>

#include "base/stop.h"
#include "io/model_file.h"

namespace hunch {

struct HfFolder {
  std::filesystem::path path;
  std::string config_json;      // text of config.json, in one spelling (io/hf_config.h)
  std::vector<Tensor> tensors;  // of model.safetensors (single or sharded by its index) or pytorch_model*.bin
  std::vector<std::shared_ptr<const void>> owners;
};

// True when the folder holds a config.json.
bool is_hf_folder(const std::filesystem::path& path);

// Opens the folder: safetensors preferred over .bin, shards joined through *.index.json (a shard
// named outside the folder is refused), weights memory-mapped. Messages name the file. Throws Error{kInterrupted} when
// `stop` asks for it.
HfFolder open_hf_folder(const std::filesystem::path& path, const Stop* stop = nullptr);

// Maps one weight file (.safetensors; anything else is read as a PyTorch checkpoint) and returns its tensors; what
// keeps them alive is added to `owners`. Messages name the file.
std::vector<Tensor> open_weight_file(const std::filesystem::path& path,
                                     std::vector<std::shared_ptr<const void>>& owners, const Stop* stop = nullptr);

}  // namespace hunch
