// Causal attention over whole sequences and its gradient, made of the repository's matrix products: per sequence and
// head, the scores are computed, used and forgotten, and computed again on the way back.
#pragma once
#include <memory>
#include <vector>

#include "base/compute.h"
#include "base/view.h"
#include "model/config.h"
#include "train/products.h"

namespace hunch {

// Sequences of equal length, one after the other, as rows of matrices.
struct SequenceShape {
  size_t n_sequences = 0, n_tokens = 0;  // tokens of each
  size_t n_before = 0;                   // keys before each sequence's own, which all of its tokens see
  size_t n_rows() const { return n_sequences * n_tokens; }
  size_t n_keys() const { return n_before + n_tokens; }  // of each
};

// For small products, of which each thread makes its own: a Compute for each of the threads of another.
class SoloComputes {
 public:
  explicit SoloComputes(size_t n_threads) {
    for (size_t i = 0; i < n_threads; ++i) all_.push_back(std::make_unique<Compute>(1));
  }
  Compute& of(size_t thread) const { return *all_[thread]; }

 private:
  std::vector<std::unique_ptr<Compute>> all_;
};

// Who computes, and how.
struct AttentionPass {
  Compute& compute;
  const SoloComputes& solo;  // of compute's threads
  Precision precision = Precision::kF32;
};

// heads[t, h] = sum over the tokens s up to t, of the same sequence and in the layer's window, of
// softmax(attn_scale * q[t, h] . k[s, g]) v[s, g]; g is the key head that query head h shares.
//
//   q, heads [n_rows, n_head * d_head]   k, v [n_sequences * n_keys, n_kv_head * d_head]   heads written, overlaps
//   nothing. A layer with a window has no keys before.
void causal_attention(const AttentionPass& pass, const LayerConfig& c, const SequenceShape& shape,
                      MatView<const float> q, MatView<const float> k, MatView<const float> v, MatView<float> heads);

// From d_heads to d_q, d_k and d_v, shapes as above, all written.
void causal_attention_gradient(const AttentionPass& pass, const LayerConfig& c, const SequenceShape& shape,
                               MatView<const float> q, MatView<const float> k, MatView<const float> v,
                               MatView<const float> d_heads, MatView<float> d_q, MatView<float> d_k,
                               MatView<float> d_v);

}  // namespace hunch
