// What makes a score of a pair of texts: BERT's pooler and classifier (Devlin et al. 2019, section 4.1), or RoBERTa's
// classification head, which are the same; or ModernBERT's, which has a GELU and a norm.
#pragma once
#include <span>
#include <vector>

namespace hunch {

struct RankHead {
  size_t n_labels = 0;                   // 0: the model has none
  std::vector<float> dense, dense_bias;  // [n_embd, n_embd], [n_embd], or empty: what comes is classified as it is
  std::vector<float> norm, norm_bias;    // [n_embd], or empty: a tanh stands behind `dense`; else GELU, and this norm
  float norm_eps = 0;
  bool of_mean = false;              // the states' mean is scored, not the first
  std::vector<float> out, out_bias;  // [n_labels, n_embd], [n_labels] or empty

  // out . tanh(dense . state + dense_bias) + out_bias of the first label, where `state` [n_embd] is the hidden state of
  // the first token, or the mean; or out . norm(gelu(dense . state + dense_bias)) + out_bias. Double accumulators: it
  // is computed once a text.
  float score(std::span<const float> state) const;
};

}  // namespace hunch
