// What the three ways to read the rows that several tokens want cost on this machine: measured before the first step,
// or estimated from the bytes. A step only looks up.
#pragma once
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "linear/row_costs.h"

namespace hunch {

// Of batch sizes that are measured (1, 2, 3, 4, 6, 8, 12, 16, 24, ...), the first that is at least n.
size_t batch_size_class(size_t n);

class CostTable {
 public:
  // Of a product of `n_tokens` tokens (their size class) with W, or a matrix like it: as measured, else estimated.
  RowCosts of(RowProduct product, const WeightView& W, size_t n_tokens) const;
  // Measures it, if that was not done yet, on `like`: matrices of W's shape, so that what was just read is not read
  // from the caches again. Takes some 10 ms. Not while others look up.
  void measure(Compute& compute, RowProduct product, std::span<const WeightView> like, size_t n_tokens);
  // The same costs for every product, for tests.
  void fix(const RowCosts& costs) { fixed_ = true, fixed_costs_ = costs; }

  struct Measured {
    RowProduct product;
    DType dtype;
    size_t rows, cols, n_tokens;
    RowCosts costs;
    double ms;  // that measuring took
  };
  std::vector<Measured> measured() const;  // in the order of product, shape and size
  // Costs that were measured elsewhere: a table that is pinned makes the same choices on every run.
  void pin(const Measured& measured);

 private:
  using Key = std::tuple<RowProduct, DType, size_t, size_t, size_t>;  // product, dtype, rows, cols, tokens
  static Key key(RowProduct product, DType dtype, size_t rows, size_t cols, size_t n_tokens);

  bool fixed_ = false;
  RowCosts fixed_costs_;
  std::map<Key, Measured> measured_;
};

}  // namespace hunch
