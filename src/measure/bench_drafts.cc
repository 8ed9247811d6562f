#include "measure/bench_drafts.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hunch {
namespace {

struct DraftTally {
  std::vector<double> rates;
  double bytes = 0, seconds = 0;
  uint64_t n_decoded = 0, n_passes = 0, n_drafted = 0, n_accepted = 0;

  DraftBenchRow row(std::string name) const {
    DraftBenchRow out;
    out.row = bench_row(std::move(name), rates, bytes, seconds, n_decoded);
    if (n_passes) out.tokens_per_pass = double(n_decoded) / double(n_passes);
    if (n_drafted) out.acceptance = double(n_accepted) / double(n_drafted);
    return out;
  }
};

}  // namespace

std::vector<DraftBenchRow> bench_drafts(const Engine& engine, const ContextOptions& context_options,
                                        const BenchOptions& options, const DraftingOptions& drafting_options,
                                        std::span<const int32_t> prompt, const Progress& progress) {
  std::vector<DraftBenchRow> rows;
  uint64_t done = 0;
  for (const size_t n : options.generate) {
    if (n == 0) fail(ErrorKind::kUsage, "a bench row of 0 tokens");
    ContextOptions sized = context_options;
    sized.n_ctx = prompt.size() + n;
    Context context(engine, sized);
    GenerateOptions generate_options;
    generate_options.n_tokens = n + 1;  // the prompt's pass gives the first
    generate_options.ignore_end = true;
    generate_options.log_probs = false;
    generate_options.sampler.temperature = 0;
    DraftTally tallies[2];
    for (size_t repeat = 0; repeat <= options.n_repeats; ++repeat)
      for (const bool drafted : {false, true}) {
        context.truncate(0);
        Drafting drafting(engine, context.sequence(), drafting_options);
        generate_options.speculation = drafted ? &drafting.speculation() : nullptr;
        const Generated g = generate(context, prompt, generate_options);
        if (g.stop_reason == StopReason::kInterrupted) fail(ErrorKind::kInterrupted, "interrupted");
        if (progress) progress("bench", ++done, options.generate.size() * (options.n_repeats + 1) * 2);
        if (repeat == 0) continue;  // the warm-up
        DraftTally& t = tallies[drafted];
        t.rates.push_back(double(g.n_decoded) / g.seconds);
        t.bytes += double(g.stats.weight_bytes + g.stats.kv_bytes);
        t.seconds += g.seconds;
        t.n_decoded += g.n_decoded;
        t.n_passes += drafted ? drafting.speculation().n_passes() : g.n_decoded;
        if (!drafted) continue;
        for (const auto& s : drafting.speculation().stats()) {
          t.bytes += double(s.bytes);
          t.n_drafted += s.n_drafted;
          t.n_accepted += s.n_accepted;
        }
      }
    rows.push_back(tallies[0].row(fmt::format("tg{} plain", n)));
    rows.push_back(tallies[1].row(fmt::format("tg{} drafted", n)));
  }
  return rows;
}

}  // namespace hunch
