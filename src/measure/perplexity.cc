#include "measure/perplexity.h"

#include <algorithm>
#include <cmath>

#include "base/timer.h"
#include "engine/not_finite.h"

namespace hunch {

Perplexity perplexity(const Engine& engine, const ContextOptions& context_options, std::span<const int32_t> ids,
                      const WindowOptions& options, const Progress& progress) {
  TextWindows windows(engine, ids, options);
  Perplexity out;
  out.n_ctx = windows.n_ctx();
  out.stride = windows.stride();
  out.protocol = windows.describe();
  ContextOptions sized = context_options;
  sized.n_ctx = windows.n_longest();
  Context context(engine, sized);
  const Timer timer;
  for (const TextWindow& w : windows.all()) {
    context.truncate(0);
    context.append_all(windows.ids(w), [&](size_t first, MatView<const float> logits) {
      for (size_t i = 0; i < logits.rows; ++i) {
        const size_t predicted = w.begin + first + i + 1;
        if (predicted < w.first_scored || predicted >= w.end) continue;
        const double log_p = log_prob(logits.row(i), ids[predicted]);
        if (std::isnan(log_p))
          fail_not_finite(engine, windows.ids(w).first(predicted - w.begin),
                          fmt::format("the log-probability of token {} is {}", predicted, log_p));
        out.nll -= log_p;
        ++out.n_tokens;
      }
    });
    if (progress) progress("perplexity", w.end, windows.all().back().end);
  }
  out.perplexity = std::exp(out.nll / double(out.n_tokens));
  out.seconds = timer.seconds();
  out.stats = context.stats();
  return out;
}

}  // namespace hunch
