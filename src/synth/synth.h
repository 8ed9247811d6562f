// Random models of a chosen shape, written as GGUF: for measuring speed at real sizes without a download.
#pragma once
#include <filesystem>

#include "base/compute.h"
#include "base/progress.h"
#include "io/file_types.h"
#include "synth/shape.h"

namespace hunch {

// Contextual sparsity to plant; without a density, weights are plain noise.
struct SynthPlanting {
  std::vector<double> density;  // [n_layer] share of the MLP's neurons that a token activates; or empty
  double head_density = 1;      // share of the heads whose output is not near zero
  size_t n_contexts = 64;
  double next_token_margin = 1.5;  // of the most probable next token over its rivals, in logit deviations
};

struct SynthOptions {
  SynthShape shape;
  DType dtype = DType::kF16;
  DownFile down = DownFile::kAuto;  // kAuto: neuron-major where the activation has exact zeros
  uint64_t seed = 1;
  SynthPlanting planting;
  size_t n_outliers = 0;  // channels whose activations are 20 to 100 times as large (synth/outliers.h)
};

struct SynthReport {
  size_t n_tensors = 0;
  uint64_t n_params = 0, bytes = 0;
  std::vector<std::string> notes;  // tensors that could not be written in the asked dtype
};

// Writes the model, tensor by tensor: memory for one tensor is all it takes. The same options and seed give the
// same file, whatever the number of threads. Throws Error{kUsage} for a shape that contradicts itself, Error{kIo}
// before anything is written when the disk has no room for it.
SynthReport write_synth(const std::filesystem::path& output, const SynthOptions& options, Compute& compute,
                        const Progress& progress = {});

}  // namespace hunch
