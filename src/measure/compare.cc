#include "measure/compare.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/timer.h"
#include "engine/not_finite.h"
#include "io/printable.h"
#include "kernels/ops.h"
#include "measure/density.h"

namespace hunch {
namespace {

const Engine& engine_of(const CompareMode& mode, const Engine& engine) { return mode.engine ? *mode.engine : engine; }

// The text's windows, every mode on the same tokens; the first mode's logits are the reference.
void compare_quality(const Engine& engine, std::span<const CompareMode> modes, std::span<const int32_t> ids,
                     const WindowOptions& options, std::vector<CompareRow>& rows, const Progress& progress) {
  TextWindows windows(engine, ids, options);
  std::vector<std::unique_ptr<Context>> contexts;
  for (const CompareMode& mode : modes) {
    ContextOptions sized = mode.context;
    sized.n_ctx = windows.n_longest();
    sized.decodes_all = true;
    contexts.push_back(std::make_unique<Context>(engine_of(mode, engine), sized));
  }
  const size_t n_vocab = engine.config().n_vocab;
  std::vector<float> reference(Context::kBatchTokens * n_vocab);
  std::vector<double> nll(modes.size()), kl(modes.size()), nll_squared(modes.size()), delta_squared(modes.size()),
      reference_nll(Context::kBatchTokens);
  std::vector<size_t> agree(modes.size());
  const size_t n_scored = windows.n_scored();
  for (const TextWindow& w : windows.all()) {
    for (auto& context : contexts) context->truncate(0);
    const std::span<const int32_t> read = windows.ids(w);
    for (size_t b0 = 0; b0 < read.size(); b0 += Context::kBatchTokens) {
      const auto batch = read.subspan(b0, std::min(Context::kBatchTokens, read.size() - b0));
      for (size_t m = 0; m < modes.size(); ++m)
        contexts[m]->append_all(batch, [&](size_t first, MatView<const float> logits) {
          if (m == 0) std::copy_n(logits.data, logits.rows * n_vocab, &reference[first * n_vocab]);
          for (size_t row = 0; row < logits.rows; ++row) {
            const size_t i = first + row, predicted = w.begin + b0 + i + 1;
            if (predicted < w.first_scored || predicted >= w.end) continue;
            const std::span<const float> ref(&reference[i * n_vocab], n_vocab);
            const double token_nll = -log_prob(logits.row(row), ids[predicted]);
            if (std::isnan(token_nll))
              fail_not_finite(engine_of(modes[m], engine), read.first(predicted - w.begin),
                              fmt::format("the log-probability of token {} in mode '{}' is {}", predicted,
                                          printable(modes[m].name), token_nll));
            if (m == 0) reference_nll[i] = token_nll;
            nll[m] += token_nll;
            nll_squared[m] += token_nll * token_nll;
            delta_squared[m] += (token_nll - reference_nll[i]) * (token_nll - reference_nll[i]);
            kl[m] += m ? kl_divergence(ref, logits.row(row)) : 0.0;
            agree[m] += argmax(ref) == argmax(logits.row(row));
          }
        });
    }
    if (progress) progress("quality", w.end, windows.all().back().end);
  }
  for (size_t m = 0; m < modes.size(); ++m) {
    rows[m].perplexity = std::exp(nll[m] / double(n_scored));
    rows[m].kl = kl[m] / double(n_scored);
    rows[m].nll_delta = (nll[m] - nll[0]) / double(n_scored);
    const auto error_of = [&](double squares, double mean) {
      return std::sqrt(std::max(squares / double(n_scored) - mean * mean, 0.0) / double(n_scored));
    };
    rows[m].nll_stderr = error_of(nll_squared[m], nll[m] / double(n_scored));
    rows[m].nll_delta_stderr = error_of(delta_squared[m], rows[m].nll_delta);
    rows[m].top1 = double(agree[m]) / double(n_scored);
  }
}

struct DraftCounts {
  uint64_t n_passes = 0, n_drafted = 0, n_accepted = 0, bytes = 0;
};

// Tokens per second of n_decode tokens that continue the prompt greedily.
double decode_lossless(const Engine& engine, Context& context, const CompareMode& mode, std::span<const int32_t> prompt,
                       size_t n_decode, StepStats& stats, DraftCounts& counts) {
  Drafting drafting(engine, context.sequence(), mode.drafting);
  GenerateOptions options;
  options.n_tokens = n_decode + 1;  // the prompt's pass gives the first
  options.sampler.temperature = 0;
  options.ignore_end = true;
  options.log_probs = false;
  options.speculation = &drafting.speculation();
  const Generated generated = generate(context, prompt, options);
  if (generated.stop_reason == StopReason::kInterrupted) fail(ErrorKind::kInterrupted, "interrupted");
  stats += generated.stats;
  counts.n_passes += drafting.speculation().n_passes();
  for (const auto& s : drafting.speculation().stats()) {
    counts.n_drafted += s.n_drafted;
    counts.n_accepted += s.n_accepted;
    counts.bytes += s.bytes;
  }
  return double(generated.n_decoded) / generated.seconds;
}

// What decoding counted, of all ranks where there are several; and the bytes of each of these.
void add_stats(Context& context, StepStats& stats, std::vector<double>& bytes_of_rank) {
  std::vector<StepStats> all = {context.stats()};
  for (StepStats& other : context.take_stats_of_others()) all.push_back(std::move(other));
  if (all.size() > 1) bytes_of_rank.resize(all.size());
  for (size_t rank = 0; rank < all.size(); ++rank) {
    stats += all[rank];
    if (all.size() > 1) bytes_of_rank[rank] += double(all[rank].weight_bytes + all[rank].kv_bytes);
  }
}

}  // namespace

double kl_divergence(std::span<const float> a, std::span<const float> b) {
  const double log_za = log_sum_exp(a), log_zb = log_sum_exp(b);
  double kl = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double log_p = double(a[i]) - log_za;
    if (log_p > -60) kl += std::exp(log_p) * (log_p - (double(b[i]) - log_zb));
  }
  return std::max(kl, 0.0);
}

std::vector<CompareRow> compare_modes(const Engine& engine, std::span<const CompareMode> modes,
                                      std::span<const int32_t> ids, const CompareOptions& options,
                                      const Progress& progress) {
  if (modes.empty()) fail(ErrorKind::kUsage, "no modes to compare");
  for (const CompareMode& mode : modes)
    if (const size_t n = engine_of(mode, engine).config().n_vocab; n != engine.config().n_vocab)
      fail(ErrorKind::kUsage, "'{}' has {} tokens in its vocabulary, the reference {}: they cannot be compared",
           mode.name, n, engine.config().n_vocab);
  std::vector<CompareRow> rows(modes.size());
  for (size_t m = 0; m < modes.size(); ++m) {
    rows[m].name = modes[m].name;
    rows[m].speed_is_real = !modes[m].context.has_oracle();
    rows[m].lossless = modes[m].lossless;
  }
  compare_quality(engine, modes, ids, options.windows, rows, progress);

  // Decoding the text's own tokens: every mode reads the same ones, and the modes take turns.
  const size_t n_room = std::min(resolve_context(engine.config(), 0), ids.size());
  const size_t n_decode = std::min(options.n_decode, n_room / 2);
  // What stays in the cache is seen at the end of the context.
  const bool keys = std::ranges::any_of(modes, [&](const CompareMode& mode) {
    return mode.context.keys || mode.context.kv_type != modes[0].context.kv_type;
  });
  const size_t n_prompt = keys ? n_room - n_decode : std::min<size_t>(n_room - n_decode, 64);
  if (n_decode == 0 || n_prompt == 0) return rows;
  std::vector<std::vector<double>> speeds(modes.size());
  std::vector<StepStats> stats(modes.size());
  std::vector<std::vector<double>> bytes_of_rank(modes.size());
  std::vector<DraftCounts> drafts(modes.size());
  for (size_t repeat = 0; repeat < options.n_repeats; ++repeat) {
    for (size_t m = 0; m < modes.size(); ++m) {
      ContextOptions sized = modes[m].context;
      sized.n_ctx = n_prompt + n_decode;
      const Engine& own = engine_of(modes[m], engine);
      Context context(own, sized);
      if (modes[m].lossless) {
        speeds[m].push_back(
            decode_lossless(own, context, modes[m], ids.first(n_prompt), n_decode, stats[m], drafts[m]));
      } else {
        context.set_only_best(true);  // as greedy decoding
        context.append(ids.first(n_prompt));
        context.clear_stats();
        context.take_stats_of_others();
        const Timer timer;
        for (size_t i = 0; i < n_decode; ++i) {
          own.compute->throw_if_stopped();
          context.decode(ids.subspan(n_prompt + i, 1));
        }
        speeds[m].push_back(double(n_decode) / timer.seconds());
        add_stats(context, stats[m], bytes_of_rank[m]);
      }
      if (progress) progress("speed", repeat * modes.size() + m + 1, options.n_repeats * modes.size());
    }
  }
  for (size_t m = 0; m < modes.size(); ++m) {
    std::ranges::sort(speeds[m]);
    rows[m].tokens_per_s = speeds[m][speeds[m].size() / 2];
    rows[m].bytes_per_token =
        double(stats[m].weight_bytes + stats[m].kv_bytes + drafts[m].bytes) / double(options.n_repeats * n_decode);
    for (const double bytes : bytes_of_rank[m])
      rows[m].rank_bytes_per_token.push_back(bytes / double(options.n_repeats * n_decode));
    rows[m].pages = stats[m].pages;
    rows[m].kv_bytes_per_token = double(stats[m].kv_bytes) / double(options.n_repeats * n_decode);
    if (modes[m].lossless) {
      rows[m].tokens_per_pass = double(options.n_repeats * n_decode) / double(drafts[m].n_passes);
      rows[m].acceptance = drafts[m].n_drafted ? double(drafts[m].n_accepted) / double(drafts[m].n_drafted) : 0;
    }
    rows[m].density_mlp = density_of(modes[m].context, stats[m], &rows[m].density_per_layer);
    rows[m].density_heads = mean_density(stats[m].active_heads, stats[m].all_heads);
  }
  return rows;
}

}  // namespace hunch
