// A model's MLPs with some of their neurons only, copied together: a dense product over fewer rows.
#pragma once
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "model/weights.h"
#include "base/rows.h"

namespace hunch {

// One layer. Biases of up and gate come along; down's bias is the model's.
struct PackedMlp {
  Rows neurons;    // those that are kept, k of n_ff; all: nothing is packed and the model's own weights serve
  Linear gate, up;      // [k, n_embd], whole rows: any type
  WeightView down;      // [n_embd, k], columns of a plain down projection; or
  WeightView W_down_t;  // [k, n_embd], rows of one that is stored by neuron; or
                        // neither: a quantised down projection in rows is read whole, zeros in place of the others

  bool is_all() const { return neurons.is_all(); }
};

class PackedMlps {
 public:
  // Bytes that packing `densities` (of each layer, ceil(density * n_ff) neurons) takes.
  static uint64_t bytes_needed(const ModelWeights& weights, std::span<const float> densities);

  // Copies the rows of `kept` [n_layer]; layers of experts stay as they are. The buffers of an earlier selection are
  // used again where they are large enough. Throws Error{kMemory} before taking more than there is.
  void pack(const ModelWeights& weights, std::span<const Rows> kept, Compute& compute);
  // Gives the memory back.
  void clear() { layers_.clear(), arenas_.clear(); }

  bool empty() const { return layers_.empty(); }
  const PackedMlp& operator[](size_t layer) const { return layers_[layer]; }
  uint64_t bytes() const;

 private:
  std::vector<PackedMlp> layers_;
  std::vector<AlignedBuffer> arenas_;  // [n_layer]
};

}  // namespace hunch
