#include "measure/trace.h"

#include <algorithm>

#include "base/error.h"
#include "measure/compare.h"
#include "measure/trace_observer.h"

namespace hunch {
namespace {

constexpr double kDensities[] = {0.5, 0.3, 0.2, 0.1, 0.05};
constexpr size_t kAtATime = 3;  // modes beside the dense reference: each has a context of its own in memory

std::vector<OraclePoint> oracle_curve(const Engine& engine, std::span<const int32_t> ids, size_t n_ctx, bool neurons,
                                      bool heads, const Progress& progress, size_t curve) {
  std::vector<OraclePoint> points;
  constexpr size_t n = std::size(kDensities);
  for (size_t begin = 0; begin < n; begin += kAtATime) {
    CompareMode dense{"dense", {}};
    dense.context.mode = "dense";
    std::vector<CompareMode> modes = {dense};
    for (size_t i = begin; i < std::min(n, begin + kAtATime); ++i) {
      modes.push_back({"oracle", dense.context});
      modes.back().context.oracle_density = neurons ? kDensities[i] : 1.0;
      modes.back().context.oracle_head_density = heads ? kDensities[i] : 1.0;
    }
    CompareOptions options;
    options.windows = {n_ctx, n_ctx, 0};
    options.n_decode = 0;
    const std::vector<CompareRow> rows = compare_modes(engine, modes, ids, options);
    for (size_t m = points.empty() ? 0 : 1; m < rows.size(); ++m)
      points.push_back({modes[m].context.oracle_density, modes[m].context.oracle_head_density, rows[m].perplexity,
                        rows[m].kl, rows[m].top1});
    if (progress) progress("oracle", curve * n + std::min(n, begin + kAtATime), 3 * n);
  }
  return points;
}

void add_oracle(const Engine& engine, std::span<const int32_t> ids, const TraceOptions& options, Trace& trace,
                const Progress& progress) {
  const size_t n = std::min(options.oracle_tokens, ids.size());
  if (engine.config().moe.n_expert > 0) {
    trace.oracle_note =
        "The oracle chooses neurons of a dense MLP; this model is a mixture of experts, whose router "
        "chooses already.";
  } else if (n < 2) {
    trace.oracle_note = "The oracle was left out (--oracle-tokens 0).";
  } else {
    ids = ids.first(n);
    trace.oracle_tokens = TextWindows(engine, ids, {trace.n_ctx, trace.n_ctx, 0}).n_scored();
    trace.oracle_neurons = oracle_curve(engine, ids, trace.n_ctx, true, false, progress, 0);
    trace.oracle_heads = oracle_curve(engine, ids, trace.n_ctx, false, true, progress, 1);
    trace.oracle_both = oracle_curve(engine, ids, trace.n_ctx, true, true, progress, 2);
    trace.dense_perplexity = trace.oracle_neurons[0].perplexity;
  }
}

}  // namespace

Trace trace_text(const Engine& engine, std::span<const int32_t> ids, const TraceOptions& options,
                 const Progress& progress) {
  const ModelConfig& c = engine.config();
  require_blocks(c, /*attention=*/true, "a trace");
  if (std::ranges::any_of(c.layers, [](const LayerConfig& l) { return l.relative.on || l.extend.on(); }))
    fail(ErrorKind::kUnsupported,
         "what a head looks at depends in this model on how far keys are behind (Transformer-XL, or Self-Extend by "
         "rope): a trace, which draws it from queries and keys alone, is not made of it");
  for (const HeadId& id : options.heads)
    if (id.layer >= c.n_layer || id.head >= c.layers[id.layer].n_head)
      fail(ErrorKind::kUsage, "there is no head {}:{}; the model has {} layers of {} heads, counted from 0", id.layer,
           id.head, c.n_layer, c.layers[std::min(id.layer, c.n_layer - 1)].n_head);
  if (options.max_tokens) ids = ids.first(std::min(ids.size(), options.max_tokens));
  if (ids.size() < 2) fail(ErrorKind::kUsage, "the text has {} tokens; a trace needs at least 2", ids.size());

  Trace trace;
  trace.n_ctx =
      std::min(resolve_context(c, options.n_ctx ? options.n_ctx : std::min<size_t>(c.n_ctx_train, 512)), ids.size());
  if (trace.n_ctx < 2) fail(ErrorKind::kUsage, "a window of {} tokens is too short; expected at least 2", trace.n_ctx);
  trace.n_windows = ids.size() / trace.n_ctx;
  trace.n_tokens = trace.n_windows * trace.n_ctx;
  ids = ids.first(trace.n_tokens);
  trace.excerpt.assign(ids.begin(), ids.begin() + std::ptrdiff_t(std::min(kExcerptTokens, trace.n_ctx)));

  TraceObserver observer(engine, Sample::spread_over(trace.n_windows, trace.n_ctx), trace.n_tokens, options.heads);
  ContextOptions dense;
  dense.n_ctx = trace.n_ctx;
  dense.mode = "dense";
  Context context(engine, dense);
  context.set_observer(&observer);
  for (size_t window = 0; window < trace.n_windows; ++window) {
    engine.compute->throw_if_stopped();
    context.truncate(0);
    observer.begin_window(window * trace.n_ctx);
    context.append(ids.subspan(window * trace.n_ctx, trace.n_ctx), [&](std::string_view, uint64_t done, uint64_t) {
      if (progress) progress("trace", window * trace.n_ctx + done, trace.n_tokens);
    });
  }
  observer.finish(trace);
  add_oracle(engine, ids, options, trace, progress);
  return trace;
}

}  // namespace hunch
