#include "select/selectors.h"

#include <algorithm>

#include "base/error.h"
#include "select/magnitude.h"
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

}  // namespace

void ReluZeros::choose(Compute& compute, const Evidence& e, std::span<Rows> out) const {
  for_tokens(compute, e.x.rows, [&](size_t t) { select_nonzero(e.x.row(t), out[t]); });
}

void Magnitude::choose(Compute& compute, const Evidence& e, std::span<Rows> out) const {
  for_tokens(compute, e.x.rows, [&](size_t t) { select_magnitude(e.x.row(t), threshold_, out[t]); });
}

void Predicted::choose(Compute& compute, const Evidence& e, std::span<Rows> out) const {
  const Predictor* predictor = predictor_.of(e.expert);
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
    select_above(scores.row(t), threshold_, out[t]);
    if (out[t].size() == n) out[t].refill_all(n);
  });
}

void Given::choose(Compute&, const Evidence& e, std::span<Rows> out) const {
  HUNCH_CHECK(e.first_token + out.size() <= own_.size(), "rows of {} tokens, asked about {}", own_.size(),
              e.first_token + out.size());
  std::ranges::copy(own_.subspan(e.first_token, out.size()), out.begin());
}

}  // namespace hunch
