// MEMORY.hmem: keys and values of a text that a model once read, in a GGUF file of their own (docs/memory.md).
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "io/model_file.h"
#include "kernels/memory_attention.h"
#include "model/config.h"

namespace hunch {

class ModelParts;  // model/model_parts.h

struct Memory {
  // The model that it belongs to: tensor_fingerprint(), vector_fingerprint(), and what people call it.
  std::string fingerprint, vectors, arch, name;
  size_t n_layer = 0, n_embd = 0;
  size_t n_tokens = 0;                               // that it remembers, in every head
  std::vector<std::vector<MemoryHead>> layers = {};  // [n_layer][n_kv_head]; a layer without heads remembers nothing
  std::vector<std::shared_ptr<const void>> owners = {};

  size_t bytes() const;
};

constexpr uint64_t kMemoryVersion = 1;

// From a parsed GGUF file, whose owners move into it. Throws Error{kFormat} naming the key or tensor that is missing,
// of a wrong shape or out of range; Error{kUnsupported} for another version.
Memory parse_memory(ModelFile file);
Memory open_memory(const std::filesystem::path& path);

// Throws Error{kFormat}, naming both models, where it is not of these weights (in this or another type), or of other
// heads.
void check_memory(const Memory& memory, const ModelFile& model, const ModelConfig& config);
// Leaves the memory of the heads that are a rank's.
void keep_part(Memory& memory, const ModelParts& parts);
// Whether this layer's attention can remember: keys of its own, one set of heads.
bool can_remember(const LayerConfig& layer);

// Writes atomically.
void write_memory(const std::filesystem::path& path, const Memory& memory);

// A memory, and how it is read.
struct MemoryReader {
  std::shared_ptr<const Memory> memory;
  size_t top = 32;   // MemoryMix::top
  double gate = -1;  // MemoryMix::gates, of all heads; below 0: one softmax
  const std::vector<MemoryHead>& at(size_t layer) const { return memory->layers[layer]; }
};

}  // namespace hunch
