#include "state/page_pool.h"

#include <limits>
#include <optional>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/memory_info.h"

namespace hunch {
namespace {

AlignedBuffer reserve(std::span<const size_t> page_bytes, size_t n_pages) {
  std::optional<size_t> bytes = 0;
  for (const size_t n : page_bytes) {
    const auto layer = checked_mul(n, n_pages);
    bytes = bytes && layer ? checked_add(*bytes, *layer) : std::nullopt;
  }
  if (n_pages > std::numeric_limits<PageId>::max())
    fail(ErrorKind::kMemory, "the KV cache would have {} pages; at most {} can be counted", n_pages,
         std::numeric_limits<PageId>::max());
  require_memory(bytes ? *bytes : UINT64_MAX, "the KV cache",
                 "try a smaller context (n_ctx), or f16 as the type of the cache (kv)");
  return AlignedBuffer(*bytes);
}

}  // namespace

PagePool::PagePool(std::span<const size_t> page_bytes, size_t n_pages)
    : block_(reserve(page_bytes, n_pages)), n_refs_(n_pages) {
  size_t first = 0;
  for (const size_t n : page_bytes) {
    layers_.push_back({n, first});
    first += n * n_pages;
  }
  free_.reserve(n_pages);
  for (size_t i = n_pages; i-- > 0;) free_.push_back(PageId(i));
}

PageId PagePool::take() {
  HUNCH_CHECK(!free_.empty(), "no free page");
  const PageId page = free_.back();
  free_.pop_back();
  n_refs_[page] = 1;
  return page;
}

void PagePool::ref(PageId page) { ++n_refs_[page]; }

void PagePool::unref(PageId page) {
  HUNCH_CHECK(n_refs_[page] > 0, "page {} is free already", page);
  if (--n_refs_[page] == 0) free_.push_back(page);
}

}  // namespace hunch
