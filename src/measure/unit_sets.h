// Which units (neurons, or experts) each token of a sample needed, as bits, and how many a batch needs together.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace hunch {

class UnitSets {
 public:
  UnitSets() = default;
  UnitSets(size_t n_tokens, size_t n_units);

  void insert(size_t token, size_t unit) { bits_[token * n_words_ + unit / 64] |= uint64_t{1} << unit % 64; }
  bool contains(size_t token, size_t unit) const { return bits_[token * n_words_ + unit / 64] >> unit % 64 & 1; }

  // Mean share of the units that a batch of `size` tokens needs together, over the batches {first, first + step,
  // first + 2 step, ...} that `firsts` begins.
  double mean_union(std::span<const size_t> firsts, size_t size, size_t step) const;

 private:
  size_t n_units_ = 0, n_words_ = 0;
  std::vector<uint64_t> bits_;
};

}  // namespace hunch
