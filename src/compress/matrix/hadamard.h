// Orthogonal matrices that spread every coordinate over all others, and are multiplied in n log n.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/view.h"

namespace hunch {

// H [n, n] with n^-1/2 or -n^-1/2 everywhere and orthogonal rows, all of the first row and column positive: Sylvester's
// for powers of two, times one of Paley's (1933): of q + 1 rows for a prime q = 3 mod 4, of 2 (q + 1) for a prime
// q = 1 mod 4 (12, 20, 28, 36, 44, ...). For other n, whose part that is not such a product is m: an orthogonal m x m
// matrix of random numbers, the first row equal, in the place of Paley's.
class Hadamard {
 public:
  // `seed` of the random part, where there is one. Throws Error{kUnsupported} where that is more than 4096 wide.
  explicit Hadamard(size_t n, uint64_t seed = 1);

  size_t size() const { return n_; }
  size_t core() const { return core_n_; }  // rows of the part that is no power of two; 1: there is none
  bool is_random() const { return is_random_; }

  // x = H x, or H^T x; x [n].
  void multiply(std::span<float> x) const { apply(x, false); }
  void multiply_transposed(std::span<float> x) const { apply(x, true); }

 private:
  void apply(std::span<float> x, bool transposed) const;

  size_t n_, core_n_ = 1;
  bool is_random_ = false;
  std::vector<float> core_;  // [core_n, core_n], orthonormal; empty: 1
};

// A random rotation U of n values: U = H D for random signs D, or with `keeps_mean` U = H^T D H, where the first sign
// is positive: that leaves vectors of equal values as they are, and so commutes with subtracting the mean.
class SpreadingRotation {
 public:
  SpreadingRotation(size_t n, uint64_t seed, bool keeps_mean);
  size_t size() const { return hadamard_.size(); }
  const Hadamard& hadamard() const { return hadamard_; }
  // x = U x; x [n].
  void apply(std::span<float> x) const;
  // Of every row.
  void apply(MatView<float> rows) const {
    for (size_t r = 0; r < rows.rows; ++r) apply(rows.row(r));
  }

 private:
  Hadamard hadamard_;
  std::vector<float> signs_;
  bool keeps_mean_;
};

}  // namespace hunch
