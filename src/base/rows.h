// Which rows to compute: the answer of every selector, and what every product takes.
#pragma once
#include <algorithm>
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
  // with(row) for every row.
  template <class With>
  void for_each(const With& with) const {
    if (all_) {
      for (size_t i = 0; i < n_total_; ++i) with(i);
    } else {
      for (const uint32_t i : ids_) with(size_t{i});
    }
  }
  // The emptied vector, for selectors that fill the same Rows token after token: append the rows in
  // ascending order. Allocates nothing once it has held as many.
  std::vector<uint32_t>& refill(size_t n_total);
  // Makes this the selection of all rows; the vector keeps its memory for the next refill().
  void refill_all(size_t n_total);
  // Not 0: many tokens want these very rows, and who stores a matrix may keep a copy of them under this name.
  uint64_t name() const { return name_; }
  void set_name(uint64_t name) { name_ = name; }

 private:
  uint64_t name_ = 0;
  bool all_ = true;
  size_t n_total_ = 0;
  std::vector<uint32_t> ids_;
};

// The rows that each token of a product wants. A view.
struct RowSet {
  std::span<const Rows> own;  // [n_tokens], all of one n_total; empty: every token wants all
  size_t unit =
      1;  // a row of `own` stands for so many consecutive ones, as the rows of a head that come and go together

  bool is_all() const {
    return std::ranges::all_of(own, [](const Rows& rows) { return rows.is_all(); });
  }
  // Wanted rows of all tokens together, of n_rows each.
  uint64_t count(size_t n_tokens, size_t n_rows) const {
    if (own.empty()) return uint64_t{n_tokens} * n_rows;
    uint64_t n = 0;
    for (const Rows& rows : own) n += rows.is_all() ? n_rows : rows.size() * unit;
    return n;
  }
  RowSet subset(size_t first, size_t n) const { return {own.empty() ? own : own.subspan(first, n), unit}; }
};

// x[i] = 0 for every i that is not wanted; a row of `kept` stands for `unit` entries.
void keep_only(const Rows& kept, std::span<float> x, size_t unit = 1);

}  // namespace hunch
