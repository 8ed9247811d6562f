// The break-even of a decode batch: measured on a model's own weights when a batch first asks, then kept with the
// model.
#pragma once
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "model/weights.h"
#include "select/row_costs.h"

namespace hunch {

// Of batch sizes that are measured (1, 2, 3, 4, 6, 8, 12, 16, 24, ...), the first that is at least n.
size_t batch_size_class(size_t n);

// Safe to ask from several threads, each with its own compute; one that asks for what another is measuring waits.
class BatchCosts {
 public:
  // `weights` outlives this and has its final address, not necessarily its final contents.
  explicit BatchCosts(const ModelWeights& weights) : weights_(&weights) {}
  // The same costs for every product, for tests: nothing is measured.
  explicit BatchCosts(const RowCosts& fixed) : fixed_(fixed) {}

  // Of a product of `n_tokens` tokens (their size class) with W, or a matrix like it. Measures some 10 ms the first
  // time.
  RowCosts of(RowProduct product, const WeightView& W, size_t n_tokens, Compute& compute) const;

  struct Measured {
    RowProduct product;
    DType dtype;
    size_t rows, cols, n_tokens, n_threads;
    RowCosts costs;
    double ms;  // that measuring took
  };
  std::vector<Measured> measured() const;  // in the order of product, shape and size

 private:
  // product, dtype, rows, cols, row stride, tokens, threads
  using Key = std::tuple<RowProduct, DType, size_t, size_t, size_t, size_t, size_t>;
  std::vector<WeightView> like(RowProduct product, const WeightView& W) const;

  const ModelWeights* weights_ = nullptr;
  RowCosts fixed_;
  mutable std::mutex mutex_;
  mutable std::map<Key, Measured> measured_;
};

}  // namespace hunch
