#include "measure/by_position.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/timer.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

// One window of one mode: adds up -log p and its square.
class BucketSums {
 public:
  BucketSums(size_t n_ctx, size_t n_buckets) : width_(double(n_ctx) / double(n_buckets)), sums_(n_buckets) {}

  void add(size_t position, double nll) {
    Sum& sum = sums_[std::min(size_t(double(position) / width_), sums_.size() - 1)];
    ++sum.n;
    sum.nll += nll;
    sum.squares += nll * nll;
  }
  std::vector<PositionBucket> buckets() const {
    std::vector<PositionBucket> out;
    for (size_t b = 0; b < sums_.size(); ++b) {
      const Sum& s = sums_[b];
      PositionBucket bucket{size_t(std::ceil(double(b) * width_)), size_t(std::ceil(double(b + 1) * width_)), s.n};
      if (s.n) bucket.nll = s.nll / double(s.n);
      if (s.n > 1)
        bucket.nll_stderr =
            std::sqrt(std::max(s.squares / double(s.n) - bucket.nll * bucket.nll, 0.0) / double(s.n - 1));
      out.push_back(bucket);
    }
    return out;
  }

 private:
  struct Sum {
    size_t n = 0;
    double nll = 0, squares = 0;
  };
  double width_;
  std::vector<Sum> sums_;
};

bool has_table(const ModelConfig& config) {
  return config.position == PositionKind::kLearned || config.position == PositionKind::kSinusoidal;
}

// Tokens of a window that the mode reads, and the context that it does that in.
struct Reach {
  size_t n_read, n_ctx;
};
Reach reach_of(const Engine& engine, const CompareMode& mode, size_t n_ctx) {
  const size_t trained = engine.config().n_ctx_train;
  if (mode.context.keys && mode.context.keys->streams()) return {n_ctx, std::min(n_ctx, trained)};
  const size_t n = has_table(engine.config()) ? std::min(n_ctx, trained) : n_ctx;
  return {n, n};
}

}  // namespace

double PositionBucket::perplexity() const { return n ? std::exp(nll) : NAN; }

std::vector<PositionCurve> perplexity_by_position(const Engine& engine, std::span<const CompareMode> modes,
                                                  std::span<const int32_t> ids, const ByPositionOptions& options,
                                                  const Progress& progress) {
  if (options.max_tokens) ids = ids.first(std::min(ids.size(), options.max_tokens));
  if (options.n_buckets == 0 || options.n_ctx < 2 * options.n_buckets)
    fail(ErrorKind::kUsage, "{} buckets of {} tokens, expected two tokens or more in each", options.n_buckets,
         options.n_ctx);
  const size_t n_windows = ids.size() / options.n_ctx;
  if (n_windows == 0)
    fail(ErrorKind::kUsage, "the text has {} tokens, fewer than one window (ctx) of {}", ids.size(), options.n_ctx);
  std::vector<PositionCurve> curves;
  for (size_t m = 0; m < modes.size(); ++m) {
    const CompareMode& mode = modes[m];
    const Engine& own = mode.engine ? *mode.engine : engine;
    const Reach reach = reach_of(own, mode, options.n_ctx);
    ContextOptions sized = mode.context;
    sized.n_ctx = reach.n_ctx;
    sized.decodes_all = true;
    Context context(own, sized);
    BucketSums sums(options.n_ctx, options.n_buckets);
    const Timer timer;
    for (size_t w = 0; w < n_windows; ++w) {
      context.truncate(0);
      const std::span<const int32_t> window = ids.subspan(w * options.n_ctx, options.n_ctx);
      const std::span<const int32_t> read = window.first(std::min(reach.n_read, window.size() - 1));
      for (size_t at = 0; at < read.size(); at += Context::kBatchTokens) {
        own.compute->throw_if_stopped();
        const auto batch = read.subspan(at, std::min(Context::kBatchTokens, read.size() - at));
        context.append_all(batch, [&](size_t first, MatView<const float> logits) {
          for (size_t i = 0; i < logits.rows; ++i) {
            const size_t position = at + first + i + 1;
            if (position < window.size()) sums.add(position, -log_prob(logits.row(i), window[position]));
          }
        });
      }
      if (progress) progress("by position", m * n_windows + w + 1, modes.size() * n_windows);
    }
    curves.push_back({mode.name, sums.buckets(), timer.seconds()});
  }
  return curves;
}

}  // namespace hunch
