// The lists of keys that a prompt's pattern gives to each block of its queries.
#pragma once
#include <span>
#include <vector>

#include "kernels/attention.h"
#include "select/prompt_pattern.h"

namespace hunch {

// A chunk of a prompt that is about to be attended to, its keys stored.
struct PromptChunk {
  size_t layer = 0;
  MatView<const float> Q;  // [n, n_head * d_head] its queries
  size_t n_head = 0, first_position = 0;
  const AttentionParams& params;
  KvView view;  // slots are positions, of all tokens up to the chunk's last
};

// Gives every span its AttentionSpan::keys, in `lists`, which has room for what it once held: of a head that is dense,
// or of which everything before a span is within its budget, all. The spans are the chunk's, one for each block of
// PromptPattern::kQueryBlock positions (or a part of one), in order.
void limit_prompt(Compute& compute, const PromptPatterns& patterns, const PromptChunk& chunk,
                  std::span<AttentionSpan> spans, std::vector<Rows>& lists);

// The keys, ascending, that queries [first, first + n) read: of a query at p those up to p. Written to `out`.
void a_shape_keys(const PromptPattern& pattern, size_t first, size_t n, std::vector<uint32_t>& out);
// The same for the keys `verticals` and the distances `slashes`, which are what largest_votes() gave.
void vertical_slash_keys(std::span<const uint32_t> verticals, std::span<const uint32_t> slashes, size_t first, size_t n,
                         std::vector<uint32_t>& out);
// The first n_always, and of the others those n - n_always with the most votes, among equals the first; ascending.
void largest_votes(std::span<const float> votes, size_t n_always, size_t n, std::vector<uint32_t>& out);

}  // namespace hunch
