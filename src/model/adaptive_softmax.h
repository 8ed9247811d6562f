// Log-probabilities of a vocabulary in clusters: the frequent words, and of each cluster of others that it is one of
// them, and which (Grave et al. 2017, "Efficient softmax approximation for GPUs", arXiv:1609.04309).
#pragma once
#include <span>
#include <vector>

#include "base/compute.h"
#include "base/view.h"
#include "model/ops.h"

namespace hunch {

struct AdaptiveSoftmax {
  std::vector<size_t> ends;  // of the frequent words and of each cluster, the last one the vocabulary's; empty: none
  Vector weight, bias;       // [n_clusters * n_embd], [n_clusters]: the logits of clusters, beside the frequent words'

  bool empty() const { return ends.empty(); }
  // Logits of words become log-probabilities; x [n, n_embd] is what they were made of, logits [n, n_vocab].
  void operator()(Compute& compute, MatView<const float> x, MatView<float> logits) const;
};

}  // namespace hunch
