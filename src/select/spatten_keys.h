// SpAtten over a cache: cascade pruning of tokens and heads while a text is generated.
#pragma once
#include "select/key_selector.h"

namespace hunch {

struct SpattenOptions {
  size_t budget = 0;    // tokens that stay in a head's cache, mean over the layers
  double recent = 0.5;  // share of them that are the most recent ones; 0: as algorithm 1 has it
  double heads = 1.0;   // share of the heads that the last layer computes
  double values = 1.0;  // share of a head's keys whose values a token reads: those with the largest weights
};

// kKeys, and kHeads where options.heads < 1. The number of tokens falls from layer to layer, evenly from 3/2 of the
// budget to 1/2, that of heads from all; what a layer drops, no later layer reads in that pass, and no layer from it on
// in later ones. Scores of tokens (attention received) and of heads (magnitude of what they gave) are summed over
// layers and passes, that of heads where values are left out: of what is left. Heads that share keys come and go
// together. Prompts are computed whole. Source: Wang, Zhang & Han
// 2020, "SpAtten" (arXiv:2012.09852), section III and algorithm 1. The schedule by layer is the paper's in kind (its
// ratios are tuned for each task), the recent tokens are of its later code for language models.
class SpattenKeys final : public KeySelector {
 public:
  explicit SpattenKeys(const SpattenOptions& options);

  std::string_view kind() const override { return "spatten"; }
  std::unique_ptr<SelectorState> new_state() const override;
  bool layers_apart() const override { return false; }
  bool chooses_heads() const override { return options_.heads < 1; }
  size_t most_slots() const override { return n_tokens_of(0, 2); }
  void choose(Compute& compute, const Evidence& evidence, std::span<Rows> out) const override;

  // What stays in a layer.
  size_t n_tokens_of(size_t layer, size_t n_layer) const;
  size_t n_heads_of(size_t layer, size_t n_layer, size_t n_heads) const;

 private:
  class State;
  SpattenOptions options_;
};

}  // namespace hunch
