// What drafting gains on a text: decoding the same answer plainly and with drafts, taking turns.
#pragma once
#include "engine/drafting.h"
#include "measure/bench.h"

namespace hunch {

struct DraftBenchRow {
  BenchRow row;  // "tg128 plain", "tg128 drafted"; GB/s with what the drafts read
  double tokens_per_pass = 1, acceptance = 0;
};

// Continues `prompt` greedily by as many tokens as each entry of options.generate says, options.n_repeats times
// after a warm-up. Throws Error{kLimit} when prompt and answer do not fit into the model's context.
std::vector<DraftBenchRow> bench_drafts(const Engine& engine, const ContextOptions& context,
                                        const BenchOptions& options, const DraftingOptions& drafting,
                                        std::span<const int32_t> prompt, const Progress& progress = {});

}  // namespace hunch
