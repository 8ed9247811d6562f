// Text for a planted model: what it would write, in stretches of single contexts.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "synth/synth.h"

namespace hunch {

// n_tokens word ids. A stretch of 64 to 192 tokens stays in one context; each token is followed by its most
// probable successor or, two times out of five, by any word of the context. `text_seed` chooses the text,
// options.seed the language. Throws Error{kUsage} where write_synth would.
std::vector<int32_t> synth_text_ids(const SynthOptions& options, size_t n_tokens, uint64_t text_seed);

// The words of the ids with spaces between.
std::string synth_text(std::span<const int32_t> ids);

}  // namespace hunch
