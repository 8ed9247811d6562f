// SnapKV and its kin: when a prompt ends, its last queries say which of its tokens stay.
#pragma once
#include "select/key_selector.h"

namespace hunch {

struct PromptKeysOptions {
  size_t budget = 0;   // tokens per KV head that stay of a prompt, the window's among them; mean over layers or heads
  size_t window = 32;  // last queries that vote; their tokens stay
  size_t kernel = 5;   // votes are pooled over so many neighbouring tokens, an odd number
  bool pools_max = false;  // the largest of them; else their mean
  // 0: all layers keep the same. Else the last ones keep 1 / beta of the budget, the first ones more (PyramidKV).
  double beta = 0;
  // 1: all heads keep the same. Else this share of it, and the layer's tokens with the most votes get the rest,
  // whatever head they are of (Ada-KV).
  double floor = 1;
};

// Heads that share keys vote together. While the prompt is read all keys are there, however it is cut, and what is
// decoded stays: the next prompt's end chooses among all.
// Sources: Li et al. 2024, "SnapKV" (arXiv:2404.14469), section 4; Cai et al. 2024, "PyramidKV" (arXiv:2406.02069),
// section 4; Feng et al. 2024, "Ada-KV" (arXiv:2407.11550), algorithm 1. Budgets by layer are those of the code of
// KVCache-Factory, which pools means over a full kernel at the ends too.
class PromptKeys final : public KeySelector {
 public:
  // window < budget.
  PromptKeys(std::string_view kind, const PromptKeysOptions& options);

  std::string_view kind() const override { return kind_; }
  std::unique_ptr<SelectorState> new_state() const override;
  bool keeps_prompts() const override { return true; }
  bool heads_apart() const override { return options_.floor >= 1; }  // else heads share a budget
  size_t most_slots() const override { return SIZE_MAX; }            // of what is decoded, all stay
  const PromptKeysOptions& options() const { return options_; }

  // Tokens of a head beside the window's that stay in a layer of a prompt of n_tokens, before heads share them out.
  size_t n_kept(size_t layer, size_t n_layer, size_t n_tokens) const;

 private:
  class State;
  std::string_view kind_;
  PromptKeysOptions options_;
};

// Each head's votes, in place, by themselves and their neighbours (PromptKeysOptions::kernel).
void pool_votes(std::span<float> votes, size_t kernel, bool max);
// How many of each head's votes [n_heads, n] stay, n_kept on average: `floor` of that, and as many more as are among
// the layer's largest.
void share_out(MatView<const float> votes, size_t n_kept, double floor, std::span<size_t> n_of_head);

}  // namespace hunch
