#include "linear/together.h"

#include <algorithm>
#include <typeinfo>

#include "base/checked_math.h"
#include "base/error.h"
#include "formats/strip_shape.h"
#include "kernels/matmul.h"
#include "kernels/matmul_ragged.h"
#include "linear/segments.h"

namespace hunch {
namespace {

// Of a bias, which may be empty.
std::span<const float> part(std::span<const float> bias, size_t first, size_t n) {
  return bias.empty() ? bias : bias.subspan(first, n);
}

// finish() for every token alone; neighbouring parts of one matrix and the same tokens together.
void finish_parts(Compute& compute, Tokens tokens, MatView<const float> X, std::span<const PartialProduct> parts) {
  const std::span<Linear::Part> own = compute.arena.take<Linear::Part>(parts.size());
  for (size_t begin = 0, end = 0; begin < parts.size(); begin = end) {
    const PartialProduct& first = parts[begin];
    const auto goes_with = [&](const PartialProduct& p) {
      return p.linear == first.linear && p.first_token == first.first_token && p.Y.rows == first.Y.rows;
    };
    for (end = begin + 1; end < parts.size() && goes_with(parts[end]);) ++end;
    if (!first.linear->plain(tokens.subspan(first.first_token, first.Y.rows))) continue;  // dot() did it
    for (size_t t = 0; t < first.Y.rows; ++t) {
      for (size_t i = begin; i < end; ++i)
        new (&own[i - begin]) Linear::Part{parts[i].first_row, parts[i].Y.row_range(t, 1)};
      first.linear->finish(compute, tokens.subspan(first.first_token + t, 1), X.row_range(first.first_token + t, 1),
                           own.first(end - begin));
    }
  }
}

// Rows that begin or end within a strip, with the rest of it: strips are read at the speed of memory, single rows are
// not, and have bits of their own.
struct Widened {
  size_t first_row;
  MatView<float> Y;
  const PartialProduct* wanted;

  Widened(Compute& compute, const WeightView& W, const PartialProduct& p)
      : first_row(p.first_row / kStripRows * kStripRows), wanted(&p) {
    const size_t n = std::min(W.rows, size_t(round_up(p.first_row + p.Y.cols, kStripRows))) - first_row;
    Y = MatView<float>(compute.arena.take<float>(p.Y.rows * n).data(), p.Y.rows, n);
  }
  void cut() const {
    for (size_t t = 0; t < Y.rows; ++t)
      std::ranges::copy(Y.row(t).subspan(wanted->first_row - first_row, wanted->Y.cols), wanted->Y.row(t).begin());
  }
};

}  // namespace

void dot_together(Compute& compute, Tokens tokens, MatView<const float> X, std::span<const Product> products) {
  constexpr size_t kMost = 8;
  HUNCH_CHECK(products.size() <= kMost, "{} products at once", products.size());
  MatmulTask tasks[kMost];
  Product others[kMost];
  for_each_segment(tokens, [&](size_t first, size_t n) {
    size_t n_tasks = 0, n_others = 0;
    const Tokens segment = tokens.subspan(first, n);
    for (const Product& p : products) {
      if (const WeightView W = p.linear->plain(segment)) {
        tasks[n_tasks++] = {W, p.linear->bias(), p.Y.row_range(first, n)};
      } else {
        others[n_others++] = {p.linear, p.Y.row_range(first, n)};
      }
    }
    for (size_t begin = 0, end = 0; begin < n_others; begin = end) {  // neighbours of one form
      const auto alike = [&](const Product& p) { return typeid(*p.linear) == typeid(*others[begin].linear); };
      for (end = begin + 1; end < n_others && alike(others[end]);) ++end;
      others[begin].linear->dot_beside(compute, segment, X.row_range(first, n), {&others[begin], end - begin});
    }
    if (n_tasks) matmul(compute, X.row_range(first, n), {tasks, n_tasks}, bits_of(segment));
    for (const Product& p : products) {
      const Linear::Part whole{0, p.Y.row_range(first, n)};
      if (p.linear->plain(segment)) p.linear->finish(compute, segment, X.row_range(first, n), {&whole, 1});
    }
  });
}

void dot_parts(Compute& compute, Tokens tokens, MatView<const float> X, std::span<const PartialProduct> parts) {
  const Arena::Scope scope(compute.arena);
  const std::span<RaggedTask> tasks = compute.arena.take<RaggedTask>(parts.size());
  const std::span<Widened> widened = compute.arena.take<Widened>(parts.size());
  size_t n_tasks = 0, n_widened = 0;
  for (const PartialProduct& p : parts) {
    const Tokens own = tokens.subspan(p.first_token, p.Y.rows);
    if (const WeightView W = p.linear->plain(own)) {
      if (W.strips && (p.first_row % kStripRows != 0 || p.Y.cols % kStripRows != 0)) {
        const Widened& wide = *new (&widened[n_widened++]) Widened(compute, W, p);
        new (&tasks[n_tasks++]) RaggedTask{W.row_range(wide.first_row, wide.Y.cols),
                                           part(p.linear->bias(), wide.first_row, wide.Y.cols), wide.Y, p.first_token};
        continue;
      }
      new (&tasks[n_tasks++]) RaggedTask{W.row_range(p.first_row, p.Y.cols),
                                         part(p.linear->bias(), p.first_row, p.Y.cols), p.Y, p.first_token};
      continue;
    }
    // A form of its own computes all of the rows that share a group of this size, of which one is wanted.
    const Rows wanted = Rows::of({uint32_t(p.first_row / p.Y.cols)}, p.linear->n_out / p.Y.cols);
    HUNCH_CHECK(p.first_row % p.Y.cols == 0 && p.linear->n_out % p.Y.cols == 0, "rows {} of {} are no group", p.Y.cols,
                p.linear->n_out);
    const MatView<float> all(compute.arena.take<float>(p.linear->n_out).data(), 1, p.linear->n_out);
    for (size_t t = 0; t < p.Y.rows; ++t) {
      p.linear->dot(compute, own.subspan(t, 1), X.row_range(p.first_token + t, 1), {{&wanted, 1}, p.Y.cols}, all);
      std::ranges::copy(all.row(0).subspan(p.first_row, p.Y.cols), p.Y.row(t).begin());
    }
  }
  matmul_ragged(compute, X, tasks.first(n_tasks));
  for (const Widened& wide : widened.first(n_widened)) wide.cut();
  finish_parts(compute, tokens, X, parts);
}

}  // namespace hunch
