// Finished layers of a `hunch sparsify` that was interrupted, so that the same command goes on where it stopped.
#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "compress/head_fit.h"
#include "compress/layer_fit.h"

namespace hunch {

struct StoredFit {
  LayerFit neurons;
  HeadFit heads;
};

// A folder with a file for each layer: a sidecar whose "layers" are the one layer's candidates.
class FitStore {
 public:
  // Layers are found again only under the same `key`, which digests what they depend on. The folder is made when the
  // first layer is saved.
  FitStore(std::filesystem::path folder, std::string key) : folder_(std::move(folder)), key_(std::move(key)) {}

  // None where the layer was not saved, was saved under another key, or its file is damaged.
  std::optional<StoredFit> load(size_t layer, const ModelConfig& config) const;
  // Throws Error{kIo}.
  void save(size_t layer, const StoredFit& fit, const ModelConfig& config) const;

  // Removes what stores have left in the folder, and the folder where nothing else is in it.
  static void clear(const std::filesystem::path& folder);

 private:
  std::filesystem::path path_of(size_t layer) const;

  std::filesystem::path folder_;
  std::string key_;
};

// Digest of what a layer's fits depend on: the model, the tokens, how many are fitted to, and the options of fitting.
std::string fit_key(const ModelFile& model, std::span<const int32_t> ids, size_t n_train,
                    const SparsifyOptions& options);

}  // namespace hunch
