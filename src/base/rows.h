// Which rows to compute: the answer of every selector.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace hunch {

// Strictly increasing row ids, or "all" rows of `n_total`.
class Rows {
 public:
  static Rows all(size_t n_total);
  // `rows` strictly increasing, each < n_total; checked in debug builds.
  static Rows of(std::vector<uint32_t> rows, size_t n_total);

  bool is_all() const { return all_; }
  size_t n_total() const { return n_total_; }
  size_t size() const { return all_ ? n_total_ : ids_.size(); }
  double density() const { return n_total_ ? double(size()) / double(n_total_) : 1.0; }
  // Empty when is_all().
  std::span<const uint32_t> ids() const { return ids_; }
  // The emptied vector, for selectors that fill the same Rows token after token: append the rows in
  // ascending order. Allocates nothing once it has held as many.
  std::vector<uint32_t>& refill(size_t n_total);
  // Makes this the selection of all rows; the vector keeps its memory for the next refill().
  void refill_all(size_t n_total);

 private:
  bool all_ = true;
  size_t n_total_ = 0;
  std::vector<uint32_t> ids_;
};

}  // namespace hunch
