// How large a model's file is, and how many bits that is for each of its weights.
#pragma once
#include <cstdint>
#include <filesystem>

#include "engine/engine.h"

namespace hunch {

struct ModelSize {
  // Of matrices as products see them (one that is stored as two thin ones, without its zeros or in int8 counts n_out *
  // n_in), tables of embeddings, norms and biases.
  uint64_t n_weights = 0;
  uint64_t tensor_bytes = 0;  // of all tensors as the file has them
  uint64_t file_bytes = 0;    // of the file; of a folder the same as tensor_bytes

  double bits_per_weight() const { return n_weights ? 8 * double(tensor_bytes) / double(n_weights) : 0; }
};

// `path`: where the engine's model was opened.
ModelSize size_of(const Engine& engine, const std::filesystem::path& path);

}  // namespace hunch
