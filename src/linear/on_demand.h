// A matrix of a model that is larger than memory: it lies in a file, and what a product needs of it is read when it is
// asked for, unless it was kept.
#pragma once
#include <vector>

#include "linear/linear.h"
#include "linear/weight_disk.h"

namespace hunch {

// The bits of products are those of Stored on the same blocks, of one token, of tokens that want the bits of a step
// alone, and of all rows. Of several tokens that choose, rows are read once for all of them (RowPath::kUnion).
class OnDemand final : public Linear {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Place {
    WeightDisk* disk = nullptr;  // outlives this
    uint32_t piece = 0;          // the whole matrix
    uint32_t rows = 0;           // the same, for who wants some rows of more than there is room for
    WeightView shape;            // of the file's rows, without data
    bool by_input = false;       // [n_in, n_out], else [n_out, n_in]
    uint32_t neurons = kNone;    // whose rows these are; none: they can only be had all together
    size_t part = 0;             // of the neurons
  };
  OnDemand(LinearId id, const Place& place, std::vector<float> bias);

  void dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const override;
  void add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const override;
  bool reads_less_by_input(size_t unit) const override { return place_.by_input && unit == 1; }
  size_t bytes() const override { return place_.shape.bytes(); }
  std::span<const float> bias() const override { return bias_; }
  // As Layouts::interleave(): products with all rows are those of strips, which are kept instead of rows. Before a
  // step.
  void interleave();
  void decode(Compute& compute, MatView<float> W) const override;

 private:
  WeightView whole_rows() const;
  WeightView whole_matrix(Compute& compute) const;
  void all(Compute& compute, Tokens tokens, MatView<const float> X, MatView<float> Y) const;
  template <class Product>
  void some(Compute& compute, Tokens tokens, RowSet rows, const Product& product) const;

  Place place_;
  bool has_strips_ = false;
  std::vector<float> bias_;
};

}  // namespace hunch
