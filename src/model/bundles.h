// Neurons of a model in one piece each: what gate, up and down have of it lies together, so that one read brings it
// ("row-column bundling" of Alizadeh et al. 2023, "LLM in a flash", section 3.2). A file beside the model's own,
// written once, and of use only to whom reads neurons on demand.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "base/progress.h"
#include "base/stop.h"
#include "io/model_file.h"

namespace hunch {

// A GGUF file of bytes: "blk.N.ffn_bundle" of shape [n_ff, bytes of a neuron], in each row the model's blocks of gate
// (where it has one), up and down, in this order.
struct Bundles {
  std::filesystem::path path;
  ModelFile file;
  // Of a layer's MLP; nullptr: none.
  const Tensor* of(uint32_t layer) const;
};

// Where they are looked for: MODEL.bundles.
std::filesystem::path bundles_path(const std::filesystem::path& model);

// Throws Error{kNotFound | kFormat | kIo} for a file that is no such file, or belongs to another model than `model`.
Bundles open_bundles(const std::filesystem::path& path, const ModelFile& model);

struct BundlesReport {
  size_t n_layers = 0;
  uint64_t n_bytes = 0;
};
// Writes those of a GGUF model, atomically. Throws Error{kUnsupported} where it has no MLP whose matrices all lie by
// neuron, Error{kInterrupted}, Error{kIo}.
BundlesReport write_bundles(const std::filesystem::path& path, const ModelFile& model, const Progress& progress = {},
                            const Stop* stop = nullptr);

}  // namespace hunch
