// What the three ways to read a batch's rows cost on this machine, measured.
#pragma once
#include <span>

#include "linear/chosen_rows.h"

namespace hunch {

enum class RowProduct : uint8_t { kDot, kAdd };  // dot_chosen, add_chosen
const char* name_of(RowProduct product);         // "dot", "add"

// Seconds of a product of n_tokens tokens with one matrix: linear in the rows that are read.
struct RowCosts {
  double own_call = 0, own_row = 0;  // per token, and per row of each token
  double own_first = 0;  // besides, per row of the union: the first token reads it from memory, others from cache
  double union_call = 0, union_row = 0;  // once, and per row of the union
  double all = 0;

  double seconds(RowPath path, size_t n_tokens, size_t n_own, size_t n_union) const;
  // Share of the n rows below which the union is read faster than all of them, 0 to 1.
  double union_break_even(size_t n) const;
  // Share of the n rows that each token needs, of rows that have nothing to do with each other, below which their own
  // rows are read faster than all of them, 0 to 1.
  double own_break_even(size_t n, size_t n_tokens) const;
};

// The fastest path for these rows; kAll where the union is all of them.
RowPath fastest(const RowCosts& costs, std::span<const Rows> own, const Rows& any);

// Times the product of `n_tokens` tokens with one of `like` after the other (at least one; all of one shape and dtype,
// so that what was just read is not read from the caches again): all rows, unions of a fifth and of three fifths of
// them, the tokens' own random rows of these unions, and as many rows that all tokens have in common. Minimum of a few
// repeats, some 10 ms in all; of a large matrix a part stands for the whole.
RowCosts measure_row_costs(Compute& compute, RowProduct product, std::span<const WeightView> like, size_t n_tokens);

}  // namespace hunch
