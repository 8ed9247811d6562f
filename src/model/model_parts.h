// Which rows and columns of a model's matrices are a rank's, where tensors are divided (model/shard.h): for who reads
// them, and for who adds something to them.
#pragma once
#include <optional>
#include <vector>

#include "linear/linear.h"
#include "model/shard.h"

namespace hunch {

class ModelParts {
 public:
  ModelParts() = default;  // everything is this rank's
  // `config`: of the whole model. `down_block`: elements of the largest blocks of down projections, along the neurons.
  // Throws as cut_of().
  ModelParts(const ModelConfig& config, size_t down_block, Shard shard);

  bool is_whole() const { return shard_.is_whole(); }
  const Shard& shard() const { return shard_; }
  // Of a model that is not whole: how the layer is cut, and what its blocks are to believe.
  const LayerCut& cut(size_t layer) const { return layers_[layer].cut; }
  LayerConfig part(const LayerConfig& whole) const { return part_of(whole, cut(whole.index), down_block_, shard_); }
  Range neurons(size_t n_ff) const { return share_of(n_ff, neuron_unit(n_ff, down_block_, shard_), shard_); }
  Range words(size_t rank) const;
  Range words() const { return words(shard_.rank); }
  // Whether several ranks have the keys of one head, of this layer.
  bool shares_keys(size_t layer) const;

  // Of a matrix [n_out, n_in] of the whole model; nothing: all of them.
  std::optional<Range> rows(LinearId id, size_t n_out) const;
  std::optional<Range> columns(LinearId id, size_t n_in) const;
  bool is_cut(LinearId id) const;

 private:
  struct Layer {
    LayerCut cut;
    size_t n_head = 0, n_kv_head = 0, d_head = 0;  // of the whole model
  };

  Shard shard_;
  size_t n_vocab_ = 0, down_block_ = 1;
  std::vector<Layer> layers_;
};

}  // namespace hunch
