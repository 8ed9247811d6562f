// Vectors of floats in a byte each: what 8-bit optimisers remember (Dettmers et al. 2022, arXiv:2110.02861).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace hunch {

// Values are kept as bytes of a table with seven decades, the finest steps near the largest value, times the largest
// magnitude of their block (dynamic quantisation, sections 2.1 and 3 there).
class BlockBytes {
 public:
  static constexpr size_t kBlock = 256;

  // n values, all 0. Unsigned ones are at least 0, and those that are more than 0 stay so.
  BlockBytes(size_t n, bool is_signed);

  size_t size() const { return codes_.size(); }
  size_t n_blocks() const { return largest_.size(); }
  // Of block b: size() % kBlock values in the last one.
  size_t size_of(size_t b) const;
  void read(size_t b, std::span<float> out) const;
  void write(size_t b, std::span<const float> values);

  // As a checkpoint keeps them, to the bit.
  std::span<uint8_t> codes() { return codes_; }
  std::span<float> largest() { return largest_; }

 private:
  bool is_signed_;
  std::vector<uint8_t> codes_;
  std::vector<float> largest_;  // [n_blocks]
};

}  // namespace hunch
