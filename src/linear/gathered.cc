#include "linear/gathered.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace hunch {

Gathered::Gathered(std::unique_ptr<Linear> own, std::vector<size_t> n_rows, Communicator& ranks)
    : Linear(own->id, own->n_in, std::accumulate(n_rows.begin(), n_rows.end(), size_t{0})),
      own_(std::move(own)),
      n_rows_(std::move(n_rows)),
      ranks_(ranks) {
  HUNCH_CHECK(n_rows_.size() == ranks.n_ranks() && n_rows_[ranks.rank()] == own_->n_out, "{} rows of rank {}",
              own_->n_out, ranks.rank());
}

template <class OfOwn>
void Gathered::gather(Compute& compute, size_t n_tokens, MatView<float> Y, const OfOwn& of_own) const {
  constexpr size_t kTokens = 32;  // at a time: logits of many tokens are larger than the model's other values
  const Arena::Scope lists(compute.arena);
  const std::span<size_t> sizes = compute.arena.take<size_t>(n_rows_.size());
  for (size_t first = 0; first < n_tokens; first += kTokens) {
    const Arena::Scope scope(compute.arena);
    const size_t n = std::min(kTokens, n_tokens - first);
    const MatView<float> own(compute.arena.take<float>(n * own_->n_out).data(), n, own_->n_out);
    const std::span<float> all = compute.arena.take<float>(ranks_.leads() ? n * n_out : 0);
    of_own(first, n, own);
    for (size_t r = 0; r < sizes.size(); ++r) sizes[r] = n * n_rows_[r];
    ranks_.gather({own.data, n * own.cols}, sizes, all);
    if (!ranks_.leads()) continue;
    const float* from = all.data();
    for (size_t r = 0, row = 0; r < sizes.size(); row += n_rows_[r++])
      for (size_t t = 0; t < n; ++t, from += n_rows_[r])
        std::copy_n(from, n_rows_[r], Y.row(first + t).begin() + ptrdiff_t(row));
  }
}

void Gathered::dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const {
  gather(compute, X.rows, Y, [&](size_t first, size_t n, MatView<float> own) {
    own_->dot(compute, tokens.subspan(first, n), X.row_range(first, n), {}, own);
  });
  for (size_t t = 0; ranks_.leads() && t < out.own.size(); ++t) keep_only(out.own[t], Y.row(t), out.unit);
}

void Gathered::add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  gather(compute, A.rows, Y, [&](size_t first, size_t n, MatView<float> own) {
    own_->add(compute, tokens.subspan(first, n), A.row_range(first, n), in.subset(first, n), own);
  });
}

}  // namespace hunch
