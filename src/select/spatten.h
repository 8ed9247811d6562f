// SpAtten: tokens and heads that matter little are dropped for good, layer by layer. Source: Wang, Zhang & Han 2020,
// "SpAtten" (arXiv:2012.09852), section III.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace hunch {

// Cascade token and head pruning: what one layer drops, no later layer computes, as key, value or query. One object per
// sequence; it passes from layer to layer and gathers scores on the way. Source: sections III.A, III.B and algorithm 1.
class SpattenCascade {
 public:
  // Everything is live and has score zero.
  SpattenCascade(size_t n_tokens, size_t n_heads);

  // Live ids, ascending: what the next layer computes.
  std::span<const uint32_t> tokens() const { return tokens_; }
  std::span<const uint32_t> heads() const { return heads_; }
  // Cumulative scores of all tokens and heads; those of dropped ones stand still.
  std::span<const float> token_scores() const { return token_scores_; }
  std::span<const float> head_scores() const { return head_scores_; }

  // Adds a layer's evidence.
  //
  //   token_sums [tokens().size()]  attention weight that each live token got, over live heads and live queries
  //   head_sums  [heads().size()]   sum of |x| over each live head's outputs (live queries, channels), before local
  //   value
  //                                 pruning
  void observe(std::span<const float> token_sums, std::span<const float> head_sums);

  // Leaves the n_tokens and n_heads with the largest scores live. Of the tokens the last n_recent are safe; algorithm 1
  // protects none, and when a text goes on for long, no new token can outweigh what old ones have gathered. Larger
  // counts than there are leave all.
  void prune(size_t n_tokens, size_t n_heads, size_t n_recent = 0);

  // A new pass: every head is live, and every token.
  void revive();
  // Of the live tokens only these (ascending) stay live: the others a layer dropped in an earlier pass.
  void restrict_to(std::span<const uint32_t> tokens);
  // Tokens from n_tokens on never were.
  void truncate(size_t n_tokens);

  // New tokens, live and with score zero, as generation appends them.
  void append(size_t n_new);
  size_t n_tokens() const { return token_scores_.size(); }

 private:
  std::vector<uint32_t> tokens_, heads_;
  std::vector<float> token_scores_, head_scores_;
};

}  // namespace hunch
