#include "base/arena.h"

#include <algorithm>

#include "base/checked_math.h"
#include "base/error.h"

namespace hunch {

size_t Arena::size_bytes() const {
  size_t n = 0;
  for (const AlignedBuffer& block : blocks_) n += block.size();
  return n;
}

// Between two pieces. Threads write to one while others read the next: where they are neighbours, what a processor
// reads ahead takes away the lines that another one writes (a loop over a layer took a third longer on two cores of a
// Zen 5).
constexpr size_t kApartBytes = 4096;

std::byte* Arena::take_bytes(size_t n) {
  HUNCH_CHECK(depth_ > 0, "scratch memory is taken inside a Scope");
  constexpr size_t kLeast = size_t{1} << 20;
  const size_t size = round_up(n + AlignedBuffer::kPadBytes, AlignedBuffer::kAlignBytes);
  if (used_ == 0 && block_ == 0 && blocks_.size() > 1) {  // nothing is in use: one block as large as all
    const size_t total = size_bytes();
    blocks_.clear();
    blocks_.emplace_back(total);
  }
  while (block_ < blocks_.size() && used_ + size > blocks_[block_].size()) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) blocks_.emplace_back(std::max({size, kLeast, size_bytes()}));
  std::byte* piece = blocks_[block_].data() + used_;
  used_ += size + kApartBytes;
  return piece;
}

}  // namespace hunch
