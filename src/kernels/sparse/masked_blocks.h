// The blocks of a strip that has masks, one after the other.
#pragma once
#include <cstddef>

namespace hunch {

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

}  // namespace hunch
