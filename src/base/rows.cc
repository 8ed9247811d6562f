#include "base/rows.h"

#include <algorithm>
#include <cassert>
#include <functional>

namespace hunch {

Rows Rows::all(size_t n_total) {
  Rows selection;
  selection.n_total_ = n_total;
  return selection;
}

Rows Rows::of(std::vector<uint32_t> rows, size_t n_total) {
  assert(std::adjacent_find(rows.begin(), rows.end(), std::greater_equal<uint32_t>()) == rows.end());
  assert(rows.empty() || rows.back() < n_total);
  Rows selection;
  selection.all_ = false;
  selection.n_total_ = n_total;
  selection.ids_ = std::move(rows);
  return selection;
}

std::vector<uint32_t>& Rows::refill(size_t n_total) {
  all_ = false;
  n_total_ = n_total;
  name_ = 0;
  ids_.clear();
  return ids_;
}

void Rows::refill_all(size_t n_total) {
  all_ = true;
  n_total_ = n_total;
  name_ = 0;
  ids_.clear();
}

void keep_only(const Rows& kept, std::span<float> x, size_t unit) {
  if (kept.is_all()) return;
  size_t at = 0;
  for (const uint32_t row : kept.ids()) {
    std::fill(x.begin() + ptrdiff_t(at), x.begin() + ptrdiff_t(row * unit), 0.0f);
    at = (row + 1) * unit;
  }
  std::fill(x.begin() + ptrdiff_t(at), x.end(), 0.0f);
}

}  // namespace hunch
