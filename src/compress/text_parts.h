// What of a text is fitted to, what sets thresholds, and what only measures.
#pragma once
#include <algorithm>
#include <span>

#include "base/error.h"
#include "compress/sparsify.h"

namespace hunch {

struct TextParts {
  std::span<const int32_t> fit, calibrate, check;  // one after the other
  std::span<const int32_t> traced() const { return {fit.data(), fit.size() + calibrate.size()}; }
};

// Of the first options.max_tokens tokens (at most 400,000) the last sixth is for the check and the sixth before it for
// calibration, at most 16,384 each: what makes their errors small. Throws Error{kUsage} for fewer than
// kMinSparsifyTokens.
inline TextParts parts_of(std::span<const int32_t> ids, const SparsifyOptions& options) {
  ids = ids.first(std::min({ids.size(), options.max_tokens, size_t{400000}}));
  if (ids.size() < kMinSparsifyTokens)
    fail(ErrorKind::kUsage, "the text has {} tokens; sparsify needs at least {}, and is better with 50,000", ids.size(),
         kMinSparsifyTokens);
  const size_t part = std::min<size_t>(ids.size() / 6, 16384), n_fit = ids.size() - 2 * part;
  return {ids.first(n_fit), ids.subspan(n_fit, part), ids.last(part)};
}

}  // namespace hunch
