#include "select/selection.h"

#include <algorithm>
#include <cassert>
#include <functional>

namespace hunch {

Selection Selection::all(size_t n_total) {
  Selection selection;
  selection.n_total_ = n_total;
  return selection;
}

Selection Selection::of(std::vector<uint32_t> rows, size_t n_total) {
  assert(std::adjacent_find(rows.begin(), rows.end(), std::greater_equal<uint32_t>()) == rows.end());
  assert(rows.empty() || rows.back() < n_total);
  Selection selection;
  selection.all_ = false;
  selection.n_total_ = n_total;
  selection.rows_ = std::move(rows);
  return selection;
}

std::vector<uint32_t>& Selection::refill(size_t n_total) {
  all_ = false;
  n_total_ = n_total;
  rows_.clear();
  return rows_;
}

void Selection::refill_all(size_t n_total) {
  all_ = true;
  n_total_ = n_total;
  rows_.clear();
}

}  // namespace hunch
