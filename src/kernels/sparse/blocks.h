// Where the blocks of a strip lie (kernels/sparse_strips.h).
#pragma once
#include <cstddef>

#include "formats/strip_shape.h"

namespace hunch {

constexpr size_t kSpanScaleBytes = 2 * kStripRows;
// Two of four: of a block, and of eight of its columns; with the values of 256 weights.
constexpr size_t kPatternBytes = 48, kPatternBytesOf8 = 12;
constexpr size_t pair_block_bytes(bool nibbles) { return kPatternBytes + (nibbles ? 128 : 256); }

// The blocks of a strip that has masks, one after the other.

class MaskedBlocks {
 public:
  static constexpr size_t kMaskBytes = 64;  // of a block
  struct Block {
    const std::byte *masks, *values;
  };

  // n > 0 blocks, whose first masks are at `first`.
  MaskedBlocks(const std::byte* first, size_t n) : masks_(first), at_(first + kMaskBytes), n_left_(n) {}

  // n bytes that stand before the next block: where.
  const std::byte* skip(size_t n) {
    const std::byte* at = at_;
    at_ += n;
    return at;
  }
  // The next one. Its masks were where the block before it began.
  Block next() {
    Block block{masks_, at_};
    masks_ = at_;
    if (--n_left_) block.values += kMaskBytes;
    return block;
  }
  // Where its values end.
  void end(const std::byte* values) { at_ = values; }
  const std::byte* at() const { return at_; }

 private:
  const std::byte *masks_, *at_;
  size_t n_left_;
};

// The same of either kind: what they share who expand blocks.
template <bool kTwoOfFour>
class StripBlocks {
 public:
  StripBlocks(const std::byte* first, size_t n_blocks) : masked_(first, n_blocks), pairs_at_(first) {}
  // Where the next one begins.
  const std::byte* at() const { return kTwoOfFour ? pairs_at_ : masked_.at(); }
  // Those of the span that begins here.
  const std::byte* TakeScales() {
    if constexpr (!kTwoOfFour) return masked_.skip(kSpanScaleBytes);
    pairs_at_ += kSpanScaleBytes;
    return pairs_at_ - kSpanScaleBytes;
  }

 protected:
  MaskedBlocks masked_;
  const std::byte* pairs_at_;
};

}  // namespace hunch
