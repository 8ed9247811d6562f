// A model whose residual stream is rotated, so that no channel of it is an outlier: the same function, in other numbers
// that round better (Ashkboos et al. 2024, "QuaRot", arXiv:2404.00456, section 4.1).
#pragma once
#include <filesystem>
#include <string>

#include "base/progress.h"
#include "engine/engine.h"

namespace hunch {

struct RotateOptions {
  DType dtype = DType::kF32;  // of the matrices that are written; a float type
  uint64_t seed = 1;          // of the signs
  bool values = true;         // heads of values too, undone by W_o
};

struct RotateReport {
  size_t n_matrices = 0, n_values = 0;  // rotated; layers whose heads of values are
  std::string how;                      // "Hadamard of 384 = 12 x 32"
};

// Writes the model to `output`, a GGUF file, with the stream rotated by U: the embedding and what is added to the
// stream become U W, what reads it W U^T, after the norms' weights were multiplied into it. RMS norms do not see a
// rotation; layer norms do not see one that keeps vectors of equal values (SpreadingRotation), and their biases are
// rotated with the stream. Heads of values become H v, and W_o undoes that. A tied embedding is written twice. All in
// f32, a tensor at a time.
//
// Throws Error{kUnsupported} naming what stands in the way: norms behind branches or additions, or of the embedding,
// several streams, embeddings of layers, projected words, positions that are computed; Error{kUsage} for a type that is
// no float; Error{kMemory}, Error{kInterrupted}, Error{kIo}: then no file is left.
RotateReport rotate_model(const Engine& engine, const std::filesystem::path& output, const RotateOptions& options,
                          const Progress& progress = {});

}  // namespace hunch
