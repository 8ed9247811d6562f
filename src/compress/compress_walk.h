// Layer after layer of a model pruned and rounded, each fitted to what the ones before it leave of a text.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "base/progress.h"
#include "compress/awq_layer.h"
#include "compress/compress_matrix.h"

namespace hunch {

// Part of a vector of the file with other values: norms and biases that scales were folded into.
struct ChangedVector {
  std::string tensor;
  size_t first = 0;
  std::vector<float> values;
};

class CompressWalk {
 public:
  // Throws Error{kUsage} for a text that is too short, Error{kMemory}. `options` and `progress` must outlive it.
  CompressWalk(const Engine& engine, std::span<const int32_t> ids, const CompressOptions& options,
               const Progress& progress);

  bool chooses(Role role) const;
  struct Result {
    std::vector<CompressedMatrix> matrices;  // those chosen, in the layer's order
    std::vector<ChangedVector> vectors;
  };
  // Valid until a later layer is asked for. No layer is asked for after a later one.
  const Result& layer(size_t layer);
  size_t n_tokens() const { return walk_.n_tokens(); }

 private:
  std::vector<std::unique_ptr<Linear>*> slots(size_t layer) const;
  void check_memory() const;
  void compress_next();
  void compress(const Linear& matrix, const InputMoment& moment, const LayerScaling& scaling, InverseCache& inverses);
  LayerScaling search_scales(const InputMoments& moments);
  void fold(const LayerScaling& scaling);
  void leave_compressed();

  const Engine& engine_;
  const CompressOptions& options_;
  const Progress& progress_;
  BlockWalk walk_;
  size_t n_layers_done_ = 0, n_matrices_ = 0, n_done_ = 0;
  Result result_;         // of the last layer that is done
  NormWeights norms_[2];  // as scales leave them: before attention, before the MLP; empty: as they are
  std::vector<std::vector<float>> biases_;  // of result_.matrices
};

}  // namespace hunch
