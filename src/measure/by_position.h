// Perplexity by how far into its text a token stands: what a model, or a way to stretch it, is worth beyond the length
// that it was trained with.
#pragma once
#include <string>
#include <vector>

#include "base/progress.h"
#include "measure/compare.h"

namespace hunch {

struct ByPositionOptions {
  size_t n_ctx = 0;       // tokens of a window; the text's windows follow one another, whole ones only
  size_t n_buckets = 16;  // of equal width
  size_t max_tokens = 0;  // the first so many of the text; 0: all
};

// Tokens that `begin` to `end` others stand before, over all windows.
struct PositionBucket {
  size_t begin = 0, end = 0, n = 0;
  double nll = 0, nll_stderr = 0;  // mean over its tokens, taken as independent; nothing where n is 0
  double perplexity() const;
};

struct PositionCurve {
  std::string name;  // the mode's
  std::vector<PositionBucket> buckets;
  double seconds = 0;
};

// All modes on the same tokens. A mode whose positions are a table ends where that ends, unless its policy streams.
// Throws Error{kUsage} for a text shorter than a window, or fewer tokens than buckets.
std::vector<PositionCurve> perplexity_by_position(const Engine& engine, std::span<const CompareMode> modes,
                                                  std::span<const int32_t> ids, const ByPositionOptions& options,
                                                  const Progress& progress = {});

}  // namespace hunch
