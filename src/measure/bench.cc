#include "measure/bench.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>

#include "base/error.h"
#include "base/timer.h"
#include "linear/weight_disk.h"
#include "select/prompt_selector.h"

namespace hunch {
namespace {

struct Job {
  bool prompt;
  size_t n;
};

// What the repeats of one row in one mode gave.
struct Tally {
  std::vector<double> rates;
  double bytes = 0, seconds = 0;
  uint64_t n_tokens = 0;
  StageCosts costs;
  PageReads pages;
  const WeightDisk* reader = nullptr;  // of a model that is larger than memory
  DiskStats disk;

  BenchRow row(std::string name) const {
    BenchRow row = bench_row(std::move(name), rates, bytes, seconds, n_tokens);
    row.costs = costs;
    row.pages = pages;
    row.disk = disk;
    row.n_tokens = n_tokens;
    return row;
  }
};

// Computes the row's tokens once, after those before it.
void measure(Context& context, Compute& compute, const Job& job, std::span<const int32_t> before,
             std::span<const int32_t> measured, bool counts, bool profile, Tally& tally) {
  context.throw_if_stopped();
  // What came before is still there from the last time, unless something of it was dropped or learned.
  if (context.learns_from_prompts() || context.n_tokens() < before.size() ||
      context.go_back(before.size()) < before.size()) {
    context.truncate(0);
    if (!before.empty()) context.append(before);
  }
  context.clear_stats();
  const DiskStats before_disk = tally.reader ? tally.reader->stats() : DiskStats();
  const ProfileScope profiled(compute, profile && counts, tally.costs);
  const Timer timer;
  if (job.prompt) {
    context.append(measured);
  } else {
    for (size_t i = 0; i < measured.size(); ++i) {
      context.throw_if_stopped();
      context.decode(measured.subspan(i, 1));
    }
  }
  const double seconds = timer.seconds();
  if (!counts) return;
  tally.rates.push_back(double(job.n) / seconds);
  tally.bytes += double(context.stats().weight_bytes + context.stats().kv_bytes);
  tally.seconds += seconds;
  tally.n_tokens += job.n;
  tally.pages += context.stats().pages;
  if (tally.reader) tally.disk += tally.reader->stats() - before_disk;
}

}  // namespace

BenchRow bench_row(std::string name, std::vector<double> rates, double bytes, double seconds, uint64_t n_tokens) {
  BenchRow r;
  r.name = std::move(name);
  for (double rate : rates) r.tokens_per_s += rate / double(rates.size());
  for (double rate : rates) r.tokens_per_s_stddev += (rate - r.tokens_per_s) * (rate - r.tokens_per_s);
  r.tokens_per_s_stddev = rates.size() > 1 ? std::sqrt(r.tokens_per_s_stddev / double(rates.size() - 1)) : 0.0;
  std::ranges::sort(rates);
  r.tokens_per_s_median = (rates[rates.size() / 2] + rates[(rates.size() - 1) / 2]) / 2;
  r.gb_per_s = bytes / seconds / 1e9;
  r.bytes_per_token = bytes / double(n_tokens);
  return r;
}

ProfileScope::ProfileScope(Compute& compute, bool wanted, StageCosts& costs) : compute_(compute), costs_(costs) {
  if (!wanted) return;
  compute.profile = &profile_;
  profile_.start(compute.meter);
}

ProfileScope::~ProfileScope() {
  if (compute_.profile != &profile_) return;
  profile_.stop(compute_.meter);
  compute_.profile = nullptr;
  for (size_t i = 0; i < kNumStages; ++i) {
    const Profile::Cost& cost = profile_.cost(Stage(i));
    costs_.stages[i].seconds += cost.seconds;
    costs_.stages[i].bytes += cost.bytes;
    costs_.stages[i].n_times += cost.n_times;
  }
}

void compare_with(const BenchRow& reference, BenchRow& row) {
  row.speed_up = row.tokens_per_s_median / reference.tokens_per_s_median;
  row.efficiency = row.speed_up / (reference.bytes_per_token / row.bytes_per_token);
}

std::vector<int32_t> random_ids(size_t n, size_t n_vocab) {
  std::mt19937_64 rng(1);
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = int32_t(rng() % n_vocab);
  return ids;
}

std::vector<BenchRow> bench(const Engine& engine, const ContextOptions& context_options, const BenchOptions& options,
                            const Progress& progress) {
  std::vector<Job> jobs;
  for (size_t n : options.prompt) jobs.push_back({true, n});
  for (size_t n : options.generate) jobs.push_back({false, n});
  std::vector<CompareMode> modes = options.modes;
  if (modes.empty()) modes = {{"", context_options, false, {}}};
  std::vector<BenchRow> rows;
  uint64_t done = 0;
  for (const Job& job : jobs) {
    if (job.n == 0) fail(ErrorKind::kUsage, "a bench row of 0 tokens");
    const size_t n_ids = options.depth + job.n;
    if (!options.ids.empty() && options.ids.size() < n_ids)
      fail(ErrorKind::kUsage, "the text has {} tokens; a row of {} after {} needs {}", options.ids.size(), job.n,
           options.depth, n_ids);
    std::vector<std::unique_ptr<Context>> contexts;
    for (const CompareMode& mode : modes) {
      ContextOptions sized = mode.context;
      sized.n_ctx = n_ids;
      contexts.push_back(std::make_unique<Context>(engine, sized));
      contexts.back()->set_only_best(true);  // as greedy decoding
      if (!job.prompt && contexts.back()->sequence().learns_from_prompts() &&
          options.depth < PromptSelector::kMinTokens)
        fail(ErrorKind::kUsage,
             "the sidecar lets the prompt choose the neurons (griffin): give generation one, --depth {} or more",
             PromptSelector::kMinTokens);
    }
    const std::vector<int32_t> ids = options.ids.empty()
                                         ? random_ids(n_ids, engine.config().n_vocab)
                                         : std::vector<int32_t>(options.ids.begin(), options.ids.begin() + n_ids);
    const std::span<const int32_t> before = std::span(ids).first(options.depth),
                                   measured = std::span(ids).subspan(options.depth);
    std::vector<Tally> tallies(modes.size());
    for (Tally& tally : tallies) tally.reader = engine.model->weights().disk.get();
    for (size_t repeat = 0; repeat <= options.n_repeats; ++repeat)  // the first is the warm-up
      for (size_t m = 0; m < modes.size(); ++m) {
        measure(*contexts[m], *engine.compute, job, before, measured, repeat > 0, options.profile, tallies[m]);
        if (progress) progress("bench", ++done, jobs.size() * (options.n_repeats + 1) * modes.size());
      }
    const size_t first = rows.size();
    for (size_t m = 0; m < modes.size(); ++m) {
      std::string name = fmt::format("{}{}", job.prompt ? "pp" : "tg", job.n);
      if (options.depth) name += fmt::format("@d{}", options.depth);
      if (!modes[m].name.empty()) name += " " + modes[m].name;
      rows.push_back(tallies[m].row(std::move(name)));
      if (modes.size() > 1) compare_with(rows[first], rows.back());
    }
  }
  return rows;
}

}  // namespace hunch
