// Finished layers of a `hunch compress --method` that was interrupted, so that the same command goes on where it
// stopped, bit for bit.
#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compress/compress_matrix.h"
#include "io/model_file.h"

namespace hunch {

// A folder with a file for each layer, and one with what left the last of them.
class CompressStore {
 public:
  // Everything is found again only under the same `key`. The folder is made when the first layer is saved.
  CompressStore(std::filesystem::path folder, std::string key) : folder_(std::move(folder)), key_(std::move(key)) {}

  // The layer's matrices and vectors, then the stream [n_tokens * n_embd] that enters the next one. Throws Error{kIo}.
  void save(size_t layer, const CompressResult& result, std::span<const float> stream) const;

  // The layers that are finished, from the first on, and the stream behind the last of them.
  struct Finished {
    size_t n_layers = 0;
    std::vector<float> stream;
  };
  // None where anything is missing, damaged, or of another key.
  Finished finished(size_t n_stream) const;
  std::optional<CompressResult> load(size_t layer) const;

  // Removes what stores have left in the folder, and the folder where nothing else is in it.
  static void clear(const std::filesystem::path& folder);

 private:
  std::filesystem::path path_of(const std::string& name) const;

  std::filesystem::path folder_;
  std::string key_;
};

// Digest of what a layer's result depends on: the model, the tokens and the options.
std::string compress_key(const ModelFile& model, std::span<const int32_t> ids, const CompressOptions& options);

}  // namespace hunch
