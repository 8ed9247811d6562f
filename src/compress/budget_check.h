// A budget, and the last word on a calibration to it: measured on text that nothing was chosen by, and tightened where
// it is too dear.
#pragma once
#include <cmath>

#include "base/error.h"
#include "compress/sparsify.h"

namespace hunch {

// Throws Error{kUsage} for a density or an increase of perplexity that makes no sense.
inline void check_budget_options(const SparsifyOptions& options) {
  if (options.density != 0 && !(options.density > 0 && options.density <= 1))
    fail(ErrorKind::kUsage, "density is {}, expected more than 0 and at most 1", options.density);
  if (!(options.max_ppl_increase >= 0) || !std::isfinite(options.max_ppl_increase))
    fail(ErrorKind::kUsage, "an increase of perplexity by {} makes no sense", options.max_ppl_increase);
}

// Fills report.rows by measure() -> rows, the first dense, the last sparse. Where the perplexity rises by more than
// options.max_ppl_increase (no density was asked for), tighten() makes the next measurement denser, at most three
// times; then report.met is false and a note tells the nearest. Throws Error{kFormat} where the dense perplexity is not
// finite.
template <class Measure, class Tighten>
void check_budget(const SparsifyOptions& options, SparsifyReport& report, const Measure& measure,
                  const Tighten& tighten) {
  constexpr int kMostAttempts = 3;
  for (int attempt = 0;; ++attempt) {
    report.rows = measure();
    if (!std::isfinite(report.rows.front().perplexity))
      fail(ErrorKind::kFormat, "the dense model's perplexity is not a number; is the model file damaged?");
    const double increase = report.rows.back().perplexity / report.rows.front().perplexity - 1;
    if (options.density > 0 || increase <= options.max_ppl_increase) return;
    if (attempt == kMostAttempts) {
      report.met = false;
      report.notes.push_back(
          fmt::format("the budget of +{:.2f} % is not met on the text kept for the check: the nearest is +{:.2f} %",
                      options.max_ppl_increase * 100, increase * 100));
      return;
    }
    report.notes.push_back(
        fmt::format("+{:.2f} % on the text kept for the check, where +{:.2f} % is allowed: tightened", increase * 100,
                    options.max_ppl_increase * 100));
    tighten();
  }
}

}  // namespace hunch
