// Which pattern suits which head: what `hunch sparsify --prefill` finds.
#pragma once
#include <span>
#include <vector>

#include "base/progress.h"
#include "engine/engine.h"
#include "select/prompt_pattern.h"

namespace hunch {

struct PromptFitOptions {
  size_t budget = 0;          // keys of a query
  double least_recall = 0.9;  // of attention's weight; a head that no pattern gives so much stays dense
  size_t max_tokens = 16384;  // of the text
  // Above 0: shares of the neurons are looked for, too, the smallest that leave a block's tokens so much of the squares
  // of their activations.
  double neuron_recall = 0;
};

struct FittedPattern {
  PromptPattern pattern;
  double recall = 1;  // mean share of the weights of the queries' softmax that the pattern's keys have
};

struct PromptFit {
  std::vector<std::vector<FittedPattern>> heads;  // [n_layer][n_kv_head]; empty: the layer reads a window, or no keys
  size_t n_ctx = 0, n_blocks = 0;                 // tokens of a window; blocks of queries that were looked at, a head
  std::vector<double> neurons = {};               // [n_layer], where they were asked for: PromptPatterns::neurons()
  std::shared_ptr<const PromptPatterns> patterns() const;
};

// Shares of neurons that are tried: eighths.
constexpr size_t kNeuronShares = 8;

// All the candidates of one budget.
std::vector<PromptPattern> candidate_patterns(size_t budget);

// The text is read as prompts, dense, in windows as long as the model's context allows (at most 4,096 tokens); of
// blocks of queries beyond the budget it is measured what share of their weights each candidate's keys have. For each
// KV head the candidate with the largest mean share is chosen (Jiang et al. 2024, section 3.2, search by what attention
// gives instead of by its weights). Throws Error{kUsage} for a budget that candidates do not take, or a text that has
// no window longer than the budget; Error{kInterrupted}.
PromptFit fit_prompts(const Engine& engine, std::span<const int32_t> ids, const PromptFitOptions& options,
                      const Progress& progress = {});

}  // namespace hunch
