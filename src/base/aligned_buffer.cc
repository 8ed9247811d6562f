#include "base/aligned_buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/memory_info.h"

namespace hunch {
namespace {
constexpr size_t kHugePageBytes = size_t{2} << 20;
}

AlignedBuffer::AlignedBuffer(size_t n_bytes) : size_(n_bytes) {
  if (n_bytes == 0) return;
  // The kernel promises memory that it does not have: what is large is asked for before, or the process is killed.
  constexpr size_t kLarge = size_t{64} << 20;
  if (n_bytes >= kLarge) require_memory(n_bytes, "a buffer");
  // Whole huge pages, and the rest on small ones: nothing is filled up.
  const bool huge = n_bytes >= kHugePageBytes;
  const size_t align = huge ? kHugePageBytes : kAlignBytes;
  const auto padded = checked_add(n_bytes, kPadBytes);
  void* memory = nullptr;
  if (padded && posix_memalign(&memory, align, *padded) == 0) data_ = static_cast<std::byte*>(memory);
  if (!data_) fail(ErrorKind::kMemory, "not enough memory: {} MB were asked for in one piece", n_bytes >> 20);
#ifdef MADV_HUGEPAGE
  if (huge) madvise(data_, n_bytes / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);  // a wish; refusal is fine
#endif
  std::memset(data_ + n_bytes, 0, kPadBytes);
}

AlignedBuffer::~AlignedBuffer() { std::free(data_); }

void Scratch::reserve(size_t n_bytes) {
  if (n_bytes <= buffer_.size()) return;
  buffer_ = AlignedBuffer();  // free first: the old contents are not promised
  buffer_ = AlignedBuffer(n_bytes + n_bytes / 4);
}

}  // namespace hunch
