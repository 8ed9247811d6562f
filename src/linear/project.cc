#include "linear/project.h"

#include <algorithm>

namespace hunch {

void project(Compute& compute, Tokens tokens, MatView<const float> X, RowSet inputs,
             std::span<const Product> products) {
  if (inputs.is_all()) return dot_together(compute, tokens, X, products);
  if (tokens.size() > 1 && tokens[0].as_alone) {  // what one token has may not change how another is computed
    for (size_t t = 0; t < X.rows; ++t)
      for (const Product& p : products)
        project(compute, tokens.subspan(t, 1), X.row_range(t, 1), inputs.subset(t, 1), *p.linear, {},
                p.Y.row_range(t, 1));
    return;
  }
  for (const Product& p : products) p.linear->add(compute, tokens, X, inputs, p.Y);
}

void project(Compute& compute, Tokens tokens, MatView<const float> X, RowSet inputs, const Linear& linear, RowSet out,
             MatView<float> Y) {
  if (inputs.is_all()) return linear.dot(compute, tokens, X, out, Y);
  if (tokens.size() > 1 && tokens[0].as_alone) {  // what one token has may not change how another is computed
    for (size_t t = 0; t < X.rows; ++t)
      project(compute, tokens.subspan(t, 1), X.row_range(t, 1), inputs.subset(t, 1), linear, out.subset(t, 1),
              Y.row_range(t, 1));
    return;
  }
  if (out.is_all()) return linear.add(compute, tokens, X, inputs, Y);
  // Both: rows are spared, and the inputs that a token does not have are zeros.
  const Arena::Scope scope(compute.arena);
  const MatView<float> kept(compute.arena.take<float>(X.rows * X.cols).data(), X.rows, X.cols);
  for (size_t t = 0; t < X.rows; ++t) {
    std::ranges::copy(X.row(t), kept.row(t).begin());
    keep_only(inputs.own[t], kept.row(t), inputs.unit);
  }
  linear.dot(compute, tokens, kept, out, Y);
}

}  // namespace hunch
