// A loaded model: config, weights, and the file they are views into. Immutable; any number of
// Forward passes may share it.
#pragma once
#include "base/compute.h"
#include "io/model_file.h"
#include "model/batch_costs.h"
#include "model/config.h"
#include "model/rope_table.h"
#include "model/weights.h"

namespace hunch {

class Model {
 public:
  // Reads the config of the file's architecture, checks every tensor, and arranges the weights.
  // Throws Error{kNotFound | kFormat | kUnsupported | kMemory}; memory is checked before it is taken.
  Model(ModelFile file, const WeightOptions& options, Compute& compute);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelFile& file() const { return file_; }
  const ModelConfig& config() const { return config_; }
  const ModelWeights& weights() const { return weights_; }
  const RopeTable& rope() const { return rope_; }
  // What reading a decode batch's rows costs; measured when first asked for, by one thread at a time.
  const BatchCosts& batch_costs() const { return batch_costs_; }

  // The dtype that holds most of the weight bytes, for display.
  DType main_dtype() const;
  // Bytes of weights that one decoded token reads when nothing is skipped.
  size_t bytes_per_token() const;

 private:
  ModelFile file_;
  ModelConfig config_;
  ModelWeights weights_;
  RopeTable rope_;
  BatchCosts batch_costs_{weights_};
};

}  // namespace hunch
