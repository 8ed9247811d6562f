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
  ids_.clear();
  return ids_;
}

void Rows::refill_all(size_t n_total) {
  all_ = true;
  n_total_ = n_total;
  ids_.clear();
}

}  // namespace hunch
