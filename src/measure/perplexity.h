// Perplexity of a text, with the protocol stated.
#pragma once
#include <span>
#include <string>

#include "base/progress.h"
#include "engine/generate.h"

namespace hunch {

// The text is tokenised once (with the family's BOS, if it adds one) and cut into windows of n_ctx tokens that start
// every `stride` tokens; in each window only the tokens that no earlier window has scored count, so every token but the
// first is scored exactly once, with at least n_ctx - stride tokens before it (from the second window on). stride ==
// n_ctx is GPTQ's disjoint protocol (llama.cpp's scores the second half of each window only), a smaller stride is
// Hugging Face's sliding window.
struct PerplexityOptions {
  size_t n_ctx = 0;       // tokens per window; 0: the model's trained context, at most 2048
  size_t stride = 0;      // tokens; 0: n_ctx / 2
  size_t max_tokens = 0;  // score only the first so many tokens of the text; 0 = all
};

struct Perplexity {
  double perplexity = 0, nll = 0;  // exp(nll / n_tokens); sum of -log p
  size_t n_tokens = 0;             // scored tokens
  size_t n_ctx = 0, stride = 0;    // as used
  double seconds = 0;
  StepStats stats;
};

// Throws Error{kUsage} for a text of fewer than two tokens or a stride outside 1..n_ctx.
Perplexity perplexity(const Engine& engine, const ContextOptions& context, std::span<const int32_t> ids,
                      const PerplexityOptions& options, const Progress& progress = {});

}  // namespace hunch
