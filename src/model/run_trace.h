// What the tokens of a run used of each layer: its own share, whoever else was in the step.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace hunch {

// So many of so many; of 0: the layer has no such thing.
struct Share {
  uint64_t used = 0, of = 0;
};

struct LayerUse {
  // Neurons of the MLP (of a mixture: of all its experts) that were computed: those that a selector chose, else all.
  // Where inputs are left out instead (TEAL), weights that were multiplied.
  Share neurons;
  Share heads;    // query heads
  Share experts;  // that the token went to; what all tokens share is no choice
  Share keys;     // of the text up to the token, that attention could see, summed over the KV heads that were computed
};

// Written by a step whose Run points to it.
class RunTrace {
 public:
  // Only the run's last n_last tokens are traced.
  explicit RunTrace(size_t n_last = SIZE_MAX) : n_last(n_last) {}
  size_t n_last;

  void begin(size_t n_tokens, size_t n_layer) {
    n_layer_ = n_layer;
    n_before_ = n_tokens - (n_tokens < n_last ? n_tokens : n_last);
    uses_.assign((n_tokens - n_before_) * n_layer, {});
  }
  // Of the run's token; nullptr: it is not traced.
  LayerUse* at(size_t token, size_t layer) {
    return token < n_before_ ? nullptr : &uses_[(token - n_before_) * n_layer_ + layer];
  }
  // [n_layer], of the i-th token that is traced.
  std::span<const LayerUse> of(size_t i) const { return std::span(uses_).subspan(i * n_layer_, n_layer_); }

 private:
  size_t n_layer_ = 0, n_before_ = 0;
  std::vector<LayerUse> uses_;
};

}  // namespace hunch
