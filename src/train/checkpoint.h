// What a run of training needs to go on as if it had never stopped: parameters, what the optimiser remembers of them,
// and how far it came. A GGUF file of f32 tensors.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "train/optimizer.h"

namespace hunch {

// A step of the learning curve.
struct LossPoint {
  size_t step = 0;       // steps that were done
  double loss = 0;       // of the step's batch, before it
  double held_out = -1;  // after it; negative: not measured
};

struct TrainState {
  size_t step = 0;  // that were done
  std::vector<LossPoint> curve;
};

// What a run depends on, by name; a checkpoint is of the same run where all of it is the same.
using TrainSettings = std::map<std::string, std::string>;

// Atomically: a checkpoint that is there stays until the new one is complete. Throws Error{kIo}, and Error{kFormat}
// naming the parameter where a value is not finite: then nothing is written.
void write_checkpoint(const std::filesystem::path& path, const TrainSettings& settings, const TrainState& state,
                      const Parameters& parameters, const Optimizer* optimizer);

// Fills parameters and optimiser. Throws Error{kUsage} naming the setting in which this run differs from the
// checkpoint's, Error{kFormat} for a file that is no checkpoint of these parameters, and what open_gguf() throws.
TrainState read_checkpoint(const std::filesystem::path& path, const TrainSettings& settings,
                           const Parameters& parameters, Optimizer* optimizer);

}  // namespace hunch
