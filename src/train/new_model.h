// Models that begin here: of another's architecture and vocabulary, in a shape of their own, with random weights or
// with the other's, grown.
#pragma once
#include <optional>

#include "io/model_file.h"
#include "model/model.h"

namespace hunch {

// Sizes that differ from the other model's.
struct ShapeChange {
  std::optional<size_t> n_layer, n_embd, n_ff, n_head, n_kv_head, n_ctx;
};

// What random matrices begin with; norms begin with 1, biases with 0, embeddings with deviations of 0.02.
enum class InitialWeights : uint8_t {
  kFanIn,  // deviation 1 / sqrt(inputs) (LeCun et al. 1998, "Efficient BackProp")
  kSmall,  // 0.02 (Radford et al. 2019, GPT-2)
};

// Random weights by `seed`, matrices in `dtype` (plain), vectors in f32; what adds to the stream is divided by
// sqrt(2 * layers), as GPT-2's is. Without n_head, heads stay as wide as they are; without n_kv_head, as many share
// keys. Throws Error{kUsage} for sizes that contradict each other, Error{kUnsupported} naming a tensor whose shape
// hunch cannot follow.
ModelFile new_model(const Model& like, const ShapeChange& change, DType dtype, InitialWeights initial, uint64_t seed);

// The same function (but for rounding) in more layers, neurons and values, from which training goes on: added layers
// are copies that add nothing yet; values, heads and neurons stand there several times, and who reads them reads a
// random share of each (Chen et al. 2016, "Net2Net", arXiv:1511.05641). n_embd must be a multiple of what it was, which
// multiplies the heads; n_head, n_kv_head and n_ctx cannot be said. Throws as new_model(), and Error{kUsage} for a size
// that is smaller than before.
ModelFile grown_model(const Model& model, const ShapeChange& change, DType dtype, uint64_t seed);

}  // namespace hunch
