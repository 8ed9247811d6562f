#include "model/alt_up.h"

#include <algorithm>
#include <cmath>

#include "model/step.h"

namespace hunch {
namespace {

// Tokens are independent, and one's work is small.
template <class OfToken>
void for_tokens(Step& s, size_t n, const OfToken& of_token) {
  s.compute.threads.parallel_for(n, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) of_token(t);
  });
}

float mean_square(std::span<const float> x) { return dot(x, x) / float(x.size()); }

// Of the published code: a stream's mean square counts as so much where it is less.
constexpr float kSmallest = 1e-5f;

void make_as_large_as(std::span<const float> first, std::span<float> x) {
  scale(std::sqrt(mean_square(first)) / std::sqrt(std::max(mean_square(x), kSmallest)), x);
}

}  // namespace

void AltUpEnds::begin(Step& s, MatView<float> streams) const {
  const Arena::Scope scope(s.compute.arena);
  const size_t n = streams.cols / (spread.size() + 1);
  const MatView<float> first = s.take(streams.rows, n), other = s.take(streams.rows, n);
  copy_rows(streams.col_range(0, n), first);
  for (size_t i = 0; i < spread.size(); ++i) {
    spread[i]->dot(s.compute, s.all().traits, first, {}, other);
    for_tokens(s, streams.rows, [&](size_t t) { make_as_large_as(first.row(t), other.row(t)); });
    copy_rows(other, streams.col_range((i + 1) * n, n));
  }
}

void AltUpEnds::end(Step& s, MatView<const float> streams, MatView<float> y) const {
  const Arena::Scope scope(s.compute.arena);
  const size_t n = y.cols;
  const MatView<const float> first = streams.col_range(0, n);
  const MatView<float> stream = s.take(y.rows, n), other = s.take(y.rows, n);
  copy_rows(first, y);
  for (size_t i = 0; i < merge.size(); ++i) {
    copy_rows(streams.col_range((i + 1) * n, n), stream);
    merge[i]->dot(s.compute, s.all().traits, stream, {}, other);
    for_tokens(s, y.rows, [&](size_t t) { make_as_large_as(first.row(t), other.row(t)); });
    add_rows(s.compute, 1.0f, other, y);
  }
  for_tokens(s, y.rows, [&](size_t t) { scale(1 / float(merge.size() + 1), y.row(t)); });
}

// shares [n_streams] = tanh(router . norm(x) / n_embd); scratch [n_embd].
void AltUp::route(const LayerConfig& c, std::span<const float> x, std::span<float> scratch,
                  std::span<float> shares) const {
  rms_norm(x, router_norm.weight, c.norm_eps, scratch);
  for (size_t i = 0; i < shares.size(); ++i)
    shares[i] = std::tanh(dot(std::span(router).subspan(i * c.n_embd, c.n_embd), scratch) / float(c.n_embd));
}

void AltUp::predict(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const {
  const Arena::Scope scope(s.compute.arena);
  const size_t n = c.n_streams;
  const MatView<float> scratch = s.take(x.rows, c.n_embd), shares = s.take(x.rows, n);
  for_tokens(s, x.rows, [&](size_t t) {
    const auto stream = [&](auto row, size_t i) { return row.subspan(i * c.n_embd, c.n_embd); };
    route(c, stream(x.row(t), c.active_stream), scratch.row(t), shares.row(t));
    std::ranges::copy(x.row(t), y.row(t).begin());
    for (size_t i = 0; i < n; ++i)
      for (size_t from = 0; from < n; ++from)
        axpy(dot(std::span(prediction).subspan((i * n + from) * n, n), shares.row(t)), stream(x.row(t), from),
             stream(y.row(t), i));
  });
}

void AltUp::correct(Step& s, const LayerConfig& c, MatView<const float> computed, MatView<float> x) const {
  const Arena::Scope scope(s.compute.arena);
  const size_t n = c.n_streams;
  const MatView<float> scratch = s.take(x.rows, c.n_embd), shares = s.take(x.rows, n);
  for_tokens(s, x.rows, [&](size_t t) {
    const auto stream = [&](size_t i) { return x.row(t).subspan(i * c.n_embd, c.n_embd); };
    route(c, computed.row(t), scratch.row(t), shares.row(t));
    const std::span<float> off = scratch.row(t);
    std::ranges::copy(computed.row(t), off.begin());
    axpy(-1.0f, stream(c.active_stream), off);
    for (size_t i = 0; i < n; ++i)
      axpy(dot(std::span(correction).subspan(i * n, n), shares.row(t)) + 1, off, stream(i));
  });
}

void Laurel::operator()(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const {
  const Arena::Scope scope(s.compute.arena);
  const MatView<float> narrow = s.take(x.rows, left->n_out);
  left->dot(s.compute, s.all().traits, x, {}, narrow);
  right->dot(s.compute, s.all().traits, narrow, {}, y);
  norm_rows(s.compute, c, y, norm, y);
  add_rows(s.compute, 1.0f, x, y);
}

}  // namespace hunch
