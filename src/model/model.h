// A loaded model: config, weights, and the file they are views into. Immutable but for the layouts; any
// number of Transformers may share it.
#pragma once
#include <optional>

#include "base/compute.h"
#include "io/model_file.h"
#include "model/config.h"
#include "model/plan.h"
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
  // For who puts other forms in the place of matrices: one caller at a time, and no step meanwhile.
  ModelWeights& weights() { return weights_; }
  const RopeTable& rope(const LayerConfig& layer) const { return ropes_[layer.rope]; }
  std::span<const RopeTable> ropes() const { return ropes_; }
  // Of which this is one's part; nullptr: this is all of it. config() is then that of the part, in its layers, and
  // whole_config() of all of the model.
  Ranks* ranks() const { return ranks_; }
  const ModelConfig& whole_config() const { return whole_ ? *whole_ : config_; }
  // Copies of its matrices in other orders, and what reading them costs: made before a step that needs them, by one
  // caller at a time.
  Layouts& layouts() const { return *weights_.layouts; }
  // Measures how the rows that n_tokens tokens want of the matrices that `plan` leaves parts of are read fastest, where
  // that was not done yet: some 10 ms for each shape of matrix. Without it, it is estimated. One token has no choice.
  void measure_costs(Compute& compute, const Plan& plan, size_t n_tokens) const;

  // Lets runs use `adapter`, which is bound to this model: the matrices that it changes become ones that ask each token
  // for its adapter; the others stay as they are. Before steps, by one caller at a time.
  void adapt(const Adapter& adapter);

  // The dtype that holds most of the weight bytes, for display.
  DType main_dtype() const;
  // Bytes of weights that one decoded token reads when nothing is skipped.
  size_t bytes_per_token() const;

 private:
  ModelFile file_;
  ModelConfig config_;
  std::optional<ModelConfig> whole_;  // where config_ is of a part
  ModelWeights weights_;
  std::vector<RopeTable> ropes_;
  Ranks* const ranks_;
};

}  // namespace hunch
