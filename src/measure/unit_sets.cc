#include "measure/unit_sets.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace hunch {

UnitSets::UnitSets(size_t n_tokens, size_t n_units)
    : n_units_(n_units), n_words_((n_units + 63) / 64), bits_(n_tokens * n_words_) {}

double UnitSets::mean_union(std::span<const size_t> firsts, size_t size, size_t step) const {
  if (firsts.empty() || n_units_ == 0) return 0;
  uint64_t n_needed = 0;
  std::vector<uint64_t> any(n_words_);
  for (const size_t first : firsts) {
    HUNCH_CHECK((first + (size - 1) * step + 1) * n_words_ <= bits_.size(), "a batch beyond the sample");
    std::ranges::fill(any, 0u);
    for (size_t i = 0; i < size; ++i)
      for (size_t w = 0; w < n_words_; ++w) any[w] |= bits_[(first + i * step) * n_words_ + w];
    for (const uint64_t word : any) n_needed += uint64_t(std::popcount(word));
  }
  return double(n_needed) / double(firsts.size()) / double(n_units_);
}

}  // namespace hunch
