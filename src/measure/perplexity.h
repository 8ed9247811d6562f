// Perplexity of a text, window by window.
#pragma once
#include <span>
#include <string>

#include "base/progress.h"
#include "engine/generate.h"
#include "measure/text_windows.h"

namespace hunch {

struct Perplexity {
  double perplexity = 0, nll = 0;  // exp(nll / n_tokens); sum of -log p
  size_t n_tokens = 0;             // scored tokens
  size_t n_ctx = 0, stride = 0;    // as used
  std::string protocol;            // as TextWindows describes it
  double seconds = 0;
  StepStats stats;
};

// `ids`: the text, tokenised once (with the family's BOS, if it adds one). Throws what TextWindows throws.
Perplexity perplexity(const Engine& engine, const ContextOptions& context, std::span<const int32_t> ids,
                      const WindowOptions& options, const Progress& progress = {});

}  // namespace hunch
