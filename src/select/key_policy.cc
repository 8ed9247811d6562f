#include "select/key_policy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"

namespace hunch {

void SlotScores::add(std::span<const float> sums) {
  HUNCH_CHECK(sums.size() >= values_.size(), "evidence for {} slots, {} known: a missing compact()?", sums.size(),
              values_.size());
  values_.resize(sums.size(), 0.0f);
  for (size_t s = 0; s < sums.size(); ++s) values_[s] += sums[s];
}

void SlotScores::compact(std::span<const uint32_t> kept) {
  for (size_t i = 0; i < kept.size(); ++i) {
    HUNCH_CHECK(kept[i] < values_.size() && (i == 0 || kept[i - 1] < kept[i]), "kept[{}] = {} of {} slots", i, kept[i],
                values_.size());
    values_[i] = values_[kept[i]];
  }
  values_.resize(kept.size());
}

std::span<uint32_t> keep_heaviest(std::span<const float> score, size_t n, std::span<uint32_t> ids) {
  n = std::min(n, ids.size());
  const auto by_weight = [&](uint32_t id) {
    const float x = score[id];
    return std::pair(std::isnan(x) ? std::numeric_limits<float>::infinity() : -x, id);
  };
  std::ranges::nth_element(ids, ids.begin() + ptrdiff_t(n), {}, by_weight);
  std::ranges::sort(ids.first(n));
  return ids.first(n);
}

void append_range(size_t begin, size_t end, std::vector<uint32_t>& kept) {
  for (size_t s = begin; s < end; ++s) kept.push_back(uint32_t(s));
}

void append_heaviest(std::span<const float> score, size_t begin, size_t end, size_t n, std::vector<uint32_t>& kept) {
  if (n == 0) return;
  HUNCH_CHECK(end <= score.size(), "slot {} was never observed ({} were)", end, score.size());
  const size_t before = kept.size();
  append_range(begin, end, kept);
  kept.resize(before + keep_heaviest(score, n, std::span(kept).subspan(before)).size());
}

}  // namespace hunch
