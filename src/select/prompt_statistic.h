// Which neurons a prompt used most: GRIFFIN's evidence.
#pragma once
#include <cstdint>
#include <vector>

#include "base/compute.h"
#include "base/rows.h"
#include "base/view.h"

namespace hunch {

// One layer's statistic over the tokens of a prompt: s_j = the l2 norm, over tokens, of z_j / ||z||, where z are the
// activations of a token. The neurons of a text tend to be the same from token to token ("flocking"), so that those
// with the largest s_j serve the continuation too.
// Source: Dong et al. 2024, "Prompt-prompted Adaptive Structured Pruning" (GRIFFIN, arXiv:2404.01365), section 4.
class PromptStatistic {
 public:
  // Adds tokens.
  //
  //   Z  [n_tokens, n_ff]  act(gate) * up, or act(up) where there is no gate. A token whose activations are all zero
  //                        adds nothing. n_ff is the same in every call until clear().
  void add(Compute& compute, MatView<const float> Z);
  // The k neurons with the largest s_j; among equals the lower ids. All of n_ff when k >= n_ff or nothing was added.
  void select(size_t k, Rows& out) const;
  void clear();

  size_t n_tokens() const { return n_tokens_; }
  // [n_ff] s_j squared; empty before the first tokens.
  std::span<const float> squares() const { return squares_; }

 private:
  size_t n_tokens_ = 0;
  std::vector<float> squares_, inverse_;
};

}  // namespace hunch
