#include "base/union.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/error.h"

namespace hunch {

void select_union(std::span<const Rows> selections, Rows& out) {
  HUNCH_CHECK(!selections.empty(), "the union of no selections");
  const size_t n_total = selections[0].n_total();
  for (const Rows& selection : selections) {
    HUNCH_CHECK(selection.n_total() == n_total, "selections of {} and of {} rows", n_total, selection.n_total());
    if (selection.is_all()) return out.refill_all(n_total);
  }
  // A window of ids at a time, as bits on the stack.
  constexpr size_t kWindow = 32768;
  std::vector<uint32_t>& rows = out.refill(n_total);
  for (size_t begin = 0; begin < n_total; begin += kWindow) {
    std::array<uint64_t, kWindow / 64> words{};
    for (const Rows& selection : selections) {
      const auto ids = selection.ids();
      auto id = std::lower_bound(ids.begin(), ids.end(), begin);
      for (; id != ids.end() && *id < begin + kWindow; ++id)
        words[(*id - begin) / 64] |= uint64_t{1} << (*id - begin) % 64;
    }
    for (size_t w = 0; w < words.size(); ++w)
      for (uint64_t word = words[w]; word != 0; word &= word - 1)
        rows.push_back(uint32_t(begin + w * 64 + size_t(std::countr_zero(word))));
  }
}

}  // namespace hunch
