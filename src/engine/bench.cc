#include "engine/bench.h"

#include <cmath>
#include <random>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/timer.h"

namespace hunch {
namespace {

std::vector<int32_t> random_ids(size_t n, size_t n_vocab) {
  std::mt19937_64 rng(1);
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = int32_t(rng() % n_vocab);
  return ids;
}

}  // namespace

std::vector<BenchRow> bench(const Engine& engine, const ContextOptions& context_options, const BenchOptions& options, const Progress& progress) {
  struct Job {
    bool prompt;
    size_t n;
  };
  std::vector<Job> jobs;
  for (size_t n : options.prompt) jobs.push_back({true, n});
  for (size_t n : options.generate) jobs.push_back({false, n});
  std::vector<BenchRow> rows;
  uint64_t done = 0;
  for (const Job& job : jobs) {
    if (job.n == 0) fail(ErrorKind::kUsage, "a bench row of 0 tokens");
    ContextOptions sized = context_options;
    sized.n_ctx = options.depth + job.n;
    Context context(engine, sized);
    if (!job.prompt && context.chooses_by_prompt() && options.depth < PromptNeurons::kMinTokens)
      fail(ErrorKind::kUsage, "the sidecar lets the prompt choose the neurons (griffin): give generation one, --depth {} or more",
           PromptNeurons::kMinTokens);
    const std::vector<int32_t> ids = random_ids(options.depth + job.n, engine.config().n_vocab);
    const std::span<const int32_t> before = std::span(ids).first(options.depth), measured = std::span(ids).subspan(options.depth);
    std::vector<double> rates;
    double bytes = 0, seconds = 0;
    for (size_t repeat = 0; repeat <= options.n_repeats; ++repeat) {  // the first is the warm-up
      throw_if_interrupted();
      context.truncate(0);
      if (!before.empty()) context.append(before);
      context.forward().stats = {};
      const Timer timer;
      if (job.prompt) {
        context.append(measured);
      } else {
        for (size_t i = 0; i < measured.size(); ++i) {
          throw_if_interrupted();
          context.append(measured.subspan(i, 1));
        }
      }
      const double s = timer.seconds();
      if (progress) progress("bench", ++done, jobs.size() * (options.n_repeats + 1));
      if (repeat == 0 && options.n_repeats > 0) continue;
      rates.push_back(double(job.n) / s);
      bytes += double(context.stats().weight_bytes + context.stats().kv_bytes);
      seconds += s;
    }
    BenchRow row;
    row.name = fmt::format("{}{}", job.prompt ? "pp" : "tg", job.n);
    if (options.depth) row.name += fmt::format("@d{}", options.depth);
    for (double r : rates) row.tokens_per_s += r / double(rates.size());
    for (double r : rates) row.tokens_per_s_stddev += (r - row.tokens_per_s) * (r - row.tokens_per_s);
    row.tokens_per_s_stddev = rates.size() > 1 ? std::sqrt(row.tokens_per_s_stddev / double(rates.size() - 1)) : 0.0;
    row.gb_per_s = bytes / seconds / 1e9;
    rows.push_back(row);
  }
  return rows;
}

}  // namespace hunch
