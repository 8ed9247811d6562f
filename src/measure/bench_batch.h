// Speed of several sequences that decode together, one token of each in a pass.
#pragma once
#include "measure/bench.h"

namespace hunch {

struct BatchBenchOptions {
  BenchOptions bench;             // its `generate`, `n_repeats`, `depth`, `modes` and `ids` count
  std::vector<size_t> sequences;  // decoding at once, one row each
};

struct BatchBenchRow {
  BenchRow row;  // "tg64 x8 sparse"; tokens of all sequences
  size_t n_sequences = 0;
  // Mean over the MLP products whose rows are chosen, 1 and 0 where there are none: rows that any sequence's token
  // needed, of all; and the share of the products that were read each way (RowPath).
  double union_share = 1;
  std::array<double, kNumRowPaths> paths{};
};

// Each sequence continues a stretch of its own of options.bench.ids, evenly spread over them: the first `depth` tokens
// of it as a prompt, then one token in every pass, logits of all sequences computed. Modes take turns as in bench().
// Throws Error{kUsage} where the text is too short, and for GRIFFIN, which decodes every sequence with neurons of its
// own anyway.
std::vector<BatchBenchRow> bench_batch(const Engine& engine, const ContextOptions& context,
                                       const BatchBenchOptions& options, const Progress& progress = {});

}  // namespace hunch
