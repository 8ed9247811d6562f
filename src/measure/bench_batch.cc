#include "measure/bench_batch.h"

#include <algorithm>
#include <memory>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/timer.h"

namespace hunch {
namespace {

// Sequences that one mode decodes together.
class Together {
 public:
  Together(const Engine& engine, const CompareMode& mode, std::span<const int32_t> ids, size_t n_sequences,
           size_t n_each, size_t depth)
      : ids_(ids), n_each_(n_each), depth_(depth), batch_(engine, batch_options(engine, mode, n_sequences, n_each)) {
    SequenceOptions options = sequence_options(engine, mode.context);
    options.n_ctx = sized(engine, mode, n_each).n_ctx;
    for (size_t s = 0; s < n_sequences; ++s) {
      sequences_.push_back(batch_.new_sequence(options));
      runs_.push_back({sequences_.back().get(), {}, Phase::kDecode, 1, false, true});  // as greedy decoding
    }
  }

  // Computes what stands before the measured tokens, a sequence after the other.
  void read_prompts() {
    for (size_t s = 0; s < runs_.size(); ++s)
      for (size_t at = 0; at < depth_; at += Context::kBatchTokens) {
        SequenceRun run{runs_[s].sequence};
        run.ids = ids_.subspan(s * n_each_ + at, std::min(Context::kBatchTokens, depth_ - at));
        batch_.compute({&run, 1});
      }
    for (const auto& sequence : sequences_) sequence->checkpoint();
  }

  // Decodes the measured tokens and forgets them. Seconds.
  double decode() {
    batch_.transformer().stats = {};
    const Timer timer;
    for (size_t i = depth_; i < n_each_; ++i) {
      for (size_t s = 0; s < runs_.size(); ++s) runs_[s].ids = ids_.subspan(s * n_each_ + i, 1);
      batch_.compute(runs_);
    }
    const double seconds = timer.seconds();
    for (const auto& sequence : sequences_) sequence->truncate(depth_);
    return seconds;
  }
  const StepStats& stats() const { return batch_.transformer().stats; }

 private:
  static ContextOptions sized(const Engine& engine, const CompareMode& mode, size_t n_each) {
    ContextOptions own = mode.context;
    own.n_ctx = n_each;
    return with_virtual_tokens(engine, own);
  }
  static BatchOptions batch_options(const Engine& engine, const CompareMode& mode, size_t n_sequences, size_t n_each) {
    BatchOptions options;
    options.n_tokens = n_sequences * round_up(sized(engine, mode, n_each).n_ctx, KvShape().page_tokens);
    options.kv_type = mode.context.kv_type;
    options.n_sequences = n_sequences;
    return options;
  }

  std::span<const int32_t> ids_;
  size_t n_each_, depth_;
  Batch batch_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  std::vector<SequenceRun> runs_;
};

// n tokens from each of so many places, evenly spread over the text: sequences of a batch have little to do with each
// other.
std::vector<int32_t> stretches(std::span<const int32_t> text, size_t n_sequences, size_t n) {
  std::vector<int32_t> ids;
  for (size_t s = 0; s < n_sequences; ++s) {
    const auto stretch = text.subspan(s * (text.size() / n_sequences), n);
    ids.insert(ids.end(), stretch.begin(), stretch.end());
  }
  return ids;
}

struct Measured {
  std::vector<double> rates;
  double seconds = 0;
  StepStats stats;
  StageCosts costs;
};

BatchBenchRow finished(std::string name, size_t n_sequences, const Measured& m) {
  BatchBenchRow out{
      bench_row(std::move(name), m.rates, double(m.stats.weight_bytes + m.stats.kv_bytes), m.seconds, m.stats.n_tokens),
      n_sequences};
  out.row.costs = m.costs;
  if (m.stats.rows.union_of == 0) return out;
  out.union_share = double(m.stats.rows.union_rows) / double(m.stats.rows.union_of);
  uint64_t n_products = 0;
  for (const uint64_t n : m.stats.rows.products) n_products += n;
  for (size_t i = 0; i < kNumRowPaths; ++i) out.paths[i] = double(m.stats.rows.products[i]) / double(n_products);
  return out;
}

}  // namespace

std::vector<BatchBenchRow> bench_batch(const Engine& engine, const ContextOptions& context,
                                       const BatchBenchOptions& options, const Progress& progress) {
  const BenchOptions& o = options.bench;
  std::vector<CompareMode> modes = o.modes;
  if (modes.empty()) modes = {{"", context, false, {}}};
  std::vector<BatchBenchRow> rows;
  uint64_t done = 0;
  const uint64_t n_steps = o.generate.size() * options.sequences.size() * modes.size() * (o.n_repeats + 1);
  for (const size_t n : o.generate)
    for (const size_t n_sequences : options.sequences) {
      if (n == 0 || n_sequences == 0)
        fail(ErrorKind::kUsage, "--batch: a row of {} tokens of {} sequences", n, n_sequences);
      const size_t n_each = o.depth + n, n_ids = n_sequences * n_each;
      if (!o.ids.empty() && o.ids.size() < n_ids)
        fail(ErrorKind::kUsage, "the text has {} tokens; {} sequences of {} after {} need {}", o.ids.size(),
             n_sequences, n, o.depth, n_ids);
      const std::vector<int32_t> ids =
          o.ids.empty() ? random_ids(n_ids, engine.config().n_vocab) : stretches(o.ids, n_sequences, n_each);
      std::vector<std::unique_ptr<Together>> batches;
      for (const CompareMode& mode : modes) {
        batches.push_back(std::make_unique<Together>(engine, mode, ids, n_sequences, n_each, o.depth));
        batches.back()->read_prompts();
      }
      std::vector<Measured> measured(modes.size());
      for (size_t repeat = 0; repeat <= o.n_repeats;
           ++repeat)  // the first is the warm-up, in which break-evens are measured
        for (size_t m = 0; m < modes.size(); ++m) {
          double seconds = 0;
          {
            const ProfileScope profiled(*engine.compute, o.profile && repeat > 0, measured[m].costs);
            seconds = batches[m]->decode();
          }
          if (progress) progress("bench", ++done, n_steps);
          if (repeat == 0) continue;
          measured[m].rates.push_back(double(n * n_sequences) / seconds);
          measured[m].seconds += seconds;
          measured[m].stats += batches[m]->stats();
        }
      const size_t first = rows.size();
      for (size_t m = 0; m < modes.size(); ++m) {
        std::string name = fmt::format("tg{} x{}", n, n_sequences);
        if (o.depth) name = fmt::format("tg{}@d{} x{}", n, o.depth, n_sequences);
        if (!modes[m].name.empty()) name += " " + modes[m].name;
        rows.push_back(finished(std::move(name), n_sequences, measured[m]));
        if (modes.size() > 1) compare_with(rows[first].row, rows.back().row);
      }
    }
  return rows;
}

}  // namespace hunch
