// Attention by feature maps: what a query sees of the past is one matrix for each head, whatever the text's length.
#pragma once
#include "select/split_keys.h"

namespace hunch {

// exp(q.k) is replaced by f(q).f(k), so that sum_j f(q).f(k_j) v_j = f(q)^T (sum_j f(k_j) v_j^T), with a sum of f(k_j)
// beside it. The cache goes on holding all keys, which are what the sums are made of again where a text goes back.
struct FeatureOptions {
  // 0: elu(x) + 1 of each value (Katharopoulos et al. 2020, "Transformers are RNNs", arXiv:2006.16236, section 3.2.1).
  // Else so many positive random features, whose products are exp(q.k) on average (Choromanski et al. 2021,
  // "Performer", arXiv:2009.14794, lemma 1; blocks of orthogonal directions, section 2.4).
  size_t n_features = 0;
  // Of the positive features: so many last keys are weighed exactly, in the same softmax. Else those of the last blocks
  // are read one by one.
  size_t recent = 64;
  uint64_t seed = 1;
};

// Keys join the sums in blocks (SplitState::kBlock), and the sums before the last block are kept: a text that goes back
// by no more costs nothing.
class FeatureKeys final : public KeySelector {
 public:
  FeatureKeys(std::string_view kind, const FeatureOptions& options, const FormOptions& form)
      : kind_(kind), options_(options), form_(form) {}
  std::string_view kind() const override { return kind_; }
  std::unique_ptr<SelectorState> new_state() const override;
  bool attends() const override { return true; }
  bool attends_prompts() const override { return form_.of_prompts; }
  size_t most_slots() const override { return SIZE_MAX; }
  bool heads_apart() const override { return true; }
  const FeatureOptions& options() const { return options_; }

 private:
  class State;
  std::string_view kind_;
  FeatureOptions options_;
  FormOptions form_;
};

// Directions of the positive features, [n, d]: of every d of them any two are orthogonal, and their lengths are those
// of random vectors of d normal numbers.
std::vector<float> orthogonal_directions(size_t n, size_t d, uint64_t seed);

}  // namespace hunch
