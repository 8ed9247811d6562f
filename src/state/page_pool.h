// Equal pages from one reserved block, counted by reference. A page id names one page in every layer.
#pragma once
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"

namespace hunch {

using PageId = uint32_t;

// Not thread-safe, except data() and is_shared() while nobody changes the pool.
//
// Layer-major: the pages of one layer lie side by side, so that attention over a sequence whose pages
// were taken in order streams through memory. The block is untouched until pages are written: it takes
// physical memory as it fills, on the NUMA node of the thread that writes first.
class PagePool {
 public:
  // Reserves n_pages pages of page_bytes (a multiple of 64) in each layer. Throws Error{kMemory} when
  // that is more than the machine, or the process's cgroup, has available.
  PagePool(size_t n_layer, size_t page_bytes, size_t n_pages);

  size_t bytes() const { return block_.size(); }
  size_t page_bytes() const { return page_bytes_; }
  size_t n_pages() const { return n_refs_.size(); }
  size_t n_free() const { return free_.size(); }

  PageId take();            // the free page with one reference; there must be one
  void ref(PageId page);    // one more owner
  void unref(PageId page);  // the last owner returns it
  bool is_shared(PageId page) const { return n_refs_[page] > 1; }

  std::byte* data(size_t layer, PageId page) const {
    return block_.data() + (layer * n_refs_.size() + page) * page_bytes_;
  }

 private:
  size_t page_bytes_;
  AlignedBuffer block_;
  std::vector<uint32_t> n_refs_;  // [n_pages]
  std::vector<PageId> free_;      // a stack; starts so that pages come in ascending order
};

}  // namespace hunch
