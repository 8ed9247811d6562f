#include "select/selectors.h"

#include <algorithm>

#include "base/error.h"
#include "select/key_policy.h"
#include "select/magnitude.h"
#include "select/prompt_selector.h"
#include "select/relu_zeros.h"
#include "select/threshold.h"

namespace hunch {
namespace {

// of_token(t) for every token, shared out among the threads.
template <class OfToken>
void for_tokens(Compute& compute, size_t n_tokens, const OfToken& of_token) {
  compute.threads.parallel_for(n_tokens, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) of_token(t);
  });
}

// select(scores, rows) for every token, of what the predictor says.
template <class Select>
void choose_by_score(Compute& compute, const Predictor& of_all, const Evidence& e, std::span<Rows> out,
                     const Select& select) {
  const Predictor* predictor = of_all.of(e.expert);
  if (!predictor) {
    for (Rows& rows : out) rows.refill_all(e.n_rows);
    return;
  }
  const Meter::Predicting predicting(compute.meter);
  const Arena::Scope scope(compute.arena);
  const size_t n = predictor->n_out(), n_together = e.as_alone ? 1 : e.x.rows;
  const MatView<float> scores(compute.arena.take<float>(e.x.rows * n).data(), e.x.rows, n);
  for (size_t t = 0; t < e.x.rows; t += n_together)
    predictor->score(compute, e.x.row_range(t, n_together), scores.row_range(t, n_together));
  for_tokens(compute, e.x.rows, [&](size_t t) {
    select(scores.row(t), out[t]);
    if (out[t].size() == n) out[t].refill_all(n);
  });
}

}  // namespace

void ReluZeros::choose(Compute& compute, const Evidence& e, std::span<Rows> out) const {
  for_tokens(compute, e.x.rows, [&](size_t t) { select_nonzero(e.x.row(t), out[t]); });
}

void Magnitude::choose(Compute& compute, const Evidence& e, std::span<Rows> out) const {
  for_tokens(compute, e.x.rows, [&](size_t t) { select_magnitude(e.x.row(t), threshold_, out[t]); });
}

void Predicted::choose(Compute& compute, const Evidence& e, std::span<Rows> out) const {
  choose_by_score(compute, predictor_, e, out,
                  [&](std::span<const float> scores, Rows& rows) { select_above(scores, threshold_, rows); });
}

void PredictedShare::choose(Compute& compute, const Evidence& e, std::span<Rows> out) const {
  choose_by_score(compute, predictor_, e, out, [&](std::span<const float> scores, Rows& rows) {
    append_heaviest(scores, 0, scores.size(), n_kept(share_, scores.size()), rows.refill(scores.size()));
  });
}

void Given::choose(Compute&, const Evidence& e, std::span<Rows> out) const {
  HUNCH_CHECK(e.first_token + out.size() <= own_.size(), "rows of {} tokens, asked about {}", own_.size(),
              e.first_token + out.size());
  std::ranges::copy(own_.subspan(e.first_token, out.size()), out.begin());
}

}  // namespace hunch
