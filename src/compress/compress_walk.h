// Layer after layer of a model pruned and rounded, each fitted to what the ones before it leave of a text.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "base/progress.h"
#include "compress/awq_layer.h"
#include "compress/compress_store.h"
#include "compress/outlier_inputs.h"
#include "compress/smooth_layer.h"

namespace hunch {

class CompressWalk {
 public:
  // Throws Error{kUsage} for a text that is too short, Error{kMemory}. `options` and `progress` must outlive it.
  CompressWalk(const Engine& engine, std::span<const int32_t> ids, const CompressOptions& options,
               const Progress& progress);

  bool chooses(Role role) const;
  // Whether it is written for rotated inputs.
  bool rotates(Role role) const;
  // What a matrix is written as that lies in this tensor of the file.
  BlockTarget target_of(const TensorRows& where) const;
  // Valid until a later layer is asked for. No layer is asked for after a later one.
  const CompressResult& layer(size_t layer);
  size_t n_tokens() const { return walk_.n_tokens(); }
  size_t n_resumed() const { return n_stored_; }
  // Inputs of a matrix that stay floats.
  std::span<const uint32_t> outliers(const LinearId& id) const { return outliers_.of(id); }

 private:
  std::vector<std::unique_ptr<Linear>*> slots(size_t layer) const;
  void check_memory() const;
  InputMoments::Sample sample() const;
  void resume(std::span<const int32_t> ids);
  void compress_next();
  void compress(const Linear& matrix, const InputMoment& moment, const LayerScaling& scaling, InverseCache& inverses);
  LayerScaling search_scales(const InputMoments& moments);
  void fold(const LayerScaling& scaling);
  void leave_compressed();

  const Engine& engine_;
  const CompressOptions& options_;
  const Progress& progress_;
  OutlierInputs outliers_;
  BlockWalk walk_;
  std::optional<CompressStore> store_;
  size_t n_stored_ = 0;  // layers that were finished before
  size_t n_layers_done_ = 0, n_matrices_ = 0, n_done_ = 0;
  CompressResult result_;  // of the last layer that is done
  NormWeights norms_[2];   // as scales leave them: before attention, before the MLP; empty: as they are
};

}  // namespace hunch
