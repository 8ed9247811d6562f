#include "linear/adapted.h"

#include <algorithm>

#include "kernels/gather.h"
#include "kernels/matmul.h"
#include "kernels/ops.h"
#include "linear/segments.h"

namespace hunch {
namespace {

// The tokens that one part serves, of equal traits.
struct Served {
  const AdapterPart& part;
  Tokens tokens;                    // as many
  std::span<const uint32_t> index;  // of them among the product's tokens, ascending
  size_t size() const { return index.size(); }
};

// each(Served) for every adapter among the tokens that adds something to this matrix.
template <class Each>
void for_each_served(Compute& compute, LinearId id, Tokens tokens, const Each& each) {
  const Arena::Scope scope(compute.arena);
  const std::span<uint32_t> index = compute.arena.take<uint32_t>(tokens.size());
  const std::span<TokenTraits> traits = compute.arena.take<TokenTraits>(tokens.size());
  for (size_t first = 0; first < tokens.size(); ++first) {
    const TokenTraits& own = tokens[first];
    if (!own.adapter || std::ranges::find(tokens.first(first), own) != tokens.begin() + ptrdiff_t(first)) continue;
    const AdapterPart* part = own.adapter->find(id);
    if (!part || part->rank() == 0) continue;
    size_t n = 0;
    for (size_t t = first; t < tokens.size(); ++t)
      if (tokens[t] == own) traits[n] = own, index[n++] = uint32_t(t);
    each(Served{*part, traits.first(n), index.first(n)});
  }
}

// Rows of X that belong to the served tokens, copied together where they are not.
MatView<const float> rows_of(Compute& compute, const Served& s, MatView<const float> X) {
  if (s.index.back() - s.index.front() + 1 == s.size()) return X.row_range(s.index.front(), s.size());
  const MatView<float> own(compute.arena.take<float>(s.size() * X.cols).data(), s.size(), X.cols);
  for (size_t i = 0; i < s.size(); ++i) std::ranges::copy(X.row(s.index[i]), own.row(i).begin());
  return own;
}

// H[i, :] = A x of the i-th token, from all of its inputs.
MatView<float> low_rank(Compute& compute, const Served& s, MatView<const float> X) {
  const MatView<float> H(compute.arena.take<float>(s.size() * s.part.rank()).data(), s.size(), s.part.rank());
  const MatmulTask task{s.part.A, {}, H};
  matmul(compute, rows_of(compute, s, X), {&task, 1}, bits_of(s.tokens));
  return H;
}

// The same from the inputs that each token has.
MatView<float> low_rank_of_some(Compute& compute, const Served& s, MatView<const float> X, RowSet in) {
  const MatView<float> H(compute.arena.take<float>(s.size() * s.part.rank()).data(), s.size(), s.part.rank());
  const std::span<uint32_t> ids = compute.arena.take<uint32_t>(X.cols);
  const std::span<float> x = compute.arena.take<float>(X.cols);
  for (size_t i = 0; i < s.size(); ++i) {
    const Rows& own = in.own[s.index[i]];
    if (own.is_all()) {
      const MatmulTask task{s.part.A, {}, H.row_range(i, 1)};
      matmul(compute, X.row_range(s.index[i], 1), {&task, 1}, bits_of(s.tokens));
      continue;
    }
    size_t n = 0;
    for (const uint32_t id : own.ids())
      for (size_t k = 0; k < in.unit; ++k) ids[n] = uint32_t(id * in.unit + k), x[n] = X.row(s.index[i])[ids[n]], ++n;
    std::ranges::fill(H.row(i), 0.0f);
    gather_axpy(compute, s.part.A_by_input, ids.first(n), x.first(n), H.row(i));
  }
  return H;
}

// y = (1 + gain) * (y - bias) + bias, of rows [first, first + y.size()).
void stretch(std::span<const float> gain, std::span<const float> bias, size_t first, std::span<float> y) {
  if (gain.empty()) return;
  for (size_t r = 0; r < y.size(); ++r) y[r] += gain[first + r] * (y[r] - (bias.empty() ? 0.0f : bias[first + r]));
}

// Completes rows [part.first_row, ...) of the served tokens: the gain, and B h.
void complete(Compute& compute, const Served& s, std::span<const float> bias, MatView<const float> H,
              const Linear::Part& part) {
  const Arena::Scope scope(compute.arena);
  const MatView<float> D(compute.arena.take<float>(s.size() * part.Y.cols).data(), s.size(), part.Y.cols);
  const MatmulTask task{s.part.B.row_range(part.first_row, part.Y.cols), {}, D};
  matmul(compute, H, {&task, 1}, bits_of(s.tokens));
  compute.threads.parallel_for(s.size(), 4, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const std::span<float> y = part.Y.row(s.index[i]);
      stretch(s.part.gain, bias, part.first_row, y);
      add(D.row(i), y);
    }
  });
}

// Completes the rows that each token wants.
void complete_some(Compute& compute, const Served& s, std::span<const float> bias, MatView<const float> H, RowSet out,
                   MatView<float> Y) {
  const Arena::Scope scope(compute.arena);
  const std::span<uint32_t> ids = compute.arena.take<uint32_t>(Y.cols);
  const std::span<float> dots = compute.arena.take<float>(Y.cols);
  for (size_t i = 0; i < s.size(); ++i) {
    const Rows& own = out.own[s.index[i]];
    if (own.is_all()) {
      const uint32_t only = 0;
      complete(compute, {s.part, s.tokens.subspan(i, 1), {&only, 1}}, bias, H.row_range(i, 1),
               {0, Y.row_range(s.index[i], 1)});
      continue;
    }
    size_t n = 0;
    for (const uint32_t id : own.ids())
      for (size_t k = 0; k < out.unit; ++k) ids[n++] = uint32_t(id * out.unit + k);
    gather_dot(compute, s.part.B, ids.first(n), H.row(i), dots.first(n));
    const std::span<float> y = Y.row(s.index[i]);
    for (size_t k = 0; k < n; ++k) {
      stretch(s.part.gain, bias, ids[k], y.subspan(ids[k], 1));
      y[ids[k]] += dots[k];
    }
  }
}

}  // namespace

template <class Each>
void Adapted::for_each_matrix(Tokens tokens, const Each& each) const {
  for (size_t first = 0, end = 0; first < tokens.size(); first = end) {
    const Linear& W = matrix_of(tokens[first]);
    for (end = first + 1; end < tokens.size() && &matrix_of(tokens[end]) == &W;) ++end;
    each(W, first, end - first);
  }
}

const Linear& Adapted::matrix_of(const TokenTraits& token) const {
  const AdapterPart* part = token.adapter ? token.adapter->find(id) : nullptr;
  return part && part->replacement() ? *part->replacement() : *base_;
}

WeightView Adapted::plain(Tokens tokens) const {
  const auto is_base = [&](const TokenTraits& token) { return &matrix_of(token) == base_.get(); };
  return std::ranges::all_of(tokens, is_base) ? base_->plain(tokens) : WeightView();
}

void Adapted::finish(Compute& compute, Tokens tokens, MatView<const float> X, std::span<const Part> parts) const {
  base_->finish(compute, tokens, X, parts);
  for_each_served(compute, id, tokens, [&](const Served& s) {
    const Arena::Scope scope(compute.arena);
    const MatView<float> H = low_rank(compute, s, X);
    for (const Part& part : parts) complete(compute, s, bias(), H, part);
  });
}

void Adapted::dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const {
  for_each_matrix(tokens, [&](const Linear& W, size_t first, size_t n) {
    W.dot(compute, tokens.subspan(first, n), X.row_range(first, n), out.subset(first, n), Y.row_range(first, n));
  });
  for_each_served(compute, id, tokens, [&](const Served& s) {
    const Arena::Scope scope(compute.arena);
    const MatView<float> H = low_rank(compute, s, X);
    out.is_all() ? complete(compute, s, bias(), H, {0, Y}) : complete_some(compute, s, bias(), H, out, Y);
  });
}

void Adapted::add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  for_each_matrix(tokens, [&](const Linear& W, size_t first, size_t n) {
    W.add(compute, tokens.subspan(first, n), A.row_range(first, n), in.subset(first, n), Y.row_range(first, n));
  });
  for_each_served(compute, id, tokens, [&](const Served& s) {
    const Arena::Scope scope(compute.arena);
    complete(compute, s, bias(), in.is_all() ? low_rank(compute, s, A) : low_rank_of_some(compute, s, A, in), {0, Y});
  });
}

}  // namespace hunch
