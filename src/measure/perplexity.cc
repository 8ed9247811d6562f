#include "measure/perplexity.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/timer.h"

namespace hunch {

Perplexity perplexity(const Engine& engine, const ContextOptions& context_options, std::span<const int32_t> ids,
                      const PerplexityOptions& options, const Progress& progress) {
  if (options.max_tokens && ids.size() > options.max_tokens) ids = ids.first(options.max_tokens);
  if (ids.size() < 2) fail(ErrorKind::kUsage, "the text has {} tokens; perplexity needs at least 2", ids.size());
  Perplexity out;
  out.n_ctx = options.n_ctx ? options.n_ctx : std::min<size_t>(engine.config().n_ctx_train, 2048);
  out.stride = options.stride ? options.stride : std::max<size_t>(1, out.n_ctx / 2);
  if (out.n_ctx < 2) fail(ErrorKind::kUsage, "a window of {} tokens is too short; expected at least 2", out.n_ctx);
  if (out.stride > out.n_ctx)
    fail(ErrorKind::kUsage, "stride {} is larger than the window of {} tokens", out.stride, out.n_ctx);

  ContextOptions sized = context_options;
  sized.n_ctx = std::min(out.n_ctx, ids.size());
  Context context(engine, sized);
  const Timer timer;
  size_t n_scored_to = 1;  // tokens [0, n_scored_to) are done; the first has nothing before it
  for (size_t begin = 0; n_scored_to < ids.size(); begin += out.stride) {
    const size_t end = std::min(begin + out.n_ctx, ids.size());
    if (end <= n_scored_to) continue;
    context.truncate(0);
    context.append_all(ids.subspan(begin, end - begin), [&](size_t first, MatView<const float> logits) {
      for (size_t i = 0; i < logits.rows; ++i) {
        const size_t predicted = begin + first + i + 1;
        if (predicted < n_scored_to || predicted >= end) continue;
        const double log_p = log_prob(logits.row(i), ids[predicted]);
        if (std::isnan(log_p))
          fail(ErrorKind::kFormat,
               "the logits after token {} are not finite numbers: a weight of the model is damaged, or overflows",
               predicted - 1);
        out.nll -= log_p;
        ++out.n_tokens;
      }
    });
    n_scored_to = end;
    if (progress) progress("perplexity", n_scored_to, ids.size());
  }
  out.perplexity = std::exp(out.nll / double(out.n_tokens));
  out.seconds = timer.seconds();
  out.stats = context.stats();
  return out;
}

}  // namespace hunch
