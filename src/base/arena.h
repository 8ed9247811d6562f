// Scratch memory that is taken piece by piece and given back all at once.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"

namespace hunch {

// A stack of pieces. What is taken is valid until the end of the innermost Scope around the taking. Memory that was
// once needed is kept, so that a forward pass allocates only the first time it meets a larger batch. One thread at a
// time.
class Arena {
 public:
  // n uninitialised elements, 64-byte aligned, readable for 64 bytes past their end.
  template <class T>
  std::span<T> take(size_t n) {
    return {reinterpret_cast<T*>(take_bytes(n * sizeof(T))), n};
  }

  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), block_(arena.block_), used_(arena.used_) { ++arena.depth_; }
    ~Scope() {
      arena_.block_ = block_;
      arena_.used_ = used_;
      --arena_.depth_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    size_t block_, used_;
  };

  size_t size_bytes() const;  // that the arena holds

 private:
  std::byte* take_bytes(size_t n);

  std::vector<AlignedBuffer> blocks_;
  size_t block_ = 0, used_ = 0;  // where the next piece begins
  size_t depth_ = 0;
};

}  // namespace hunch
