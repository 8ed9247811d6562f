// Pages from one reserved block, counted by reference. A page id names one page in every layer; a layer's are equal.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/numa.h"

namespace hunch {

using PageId = uint32_t;

// Not thread-safe, except data() and is_shared() while nobody changes the pool.
//
// Layer-major: the pages of one layer lie side by side, so that attention over a sequence whose pages
// were taken in order streams through memory. The block is untouched until pages are written: it takes
// physical memory as it fills, on the NUMA node of the thread that writes first, or as interleave() says.
class PagePool {
 public:
  // Reserves n_pages pages in each layer, of page_bytes [n_layer] (multiples of 64). Throws Error{kMemory} when that is
  // more than the machine, or the process's cgroup, has available.
  PagePool(std::span<const size_t> page_bytes, size_t n_pages);

  size_t bytes() const { return block_.size(); }
  size_t page_bytes(size_t layer) const { return layers_[layer].page_bytes; }
  size_t n_pages() const { return n_refs_.size(); }
  size_t n_free() const { return free_.size(); }

  // interleave_pages() of all of it.
  bool interleave(std::span<const int> node_ids) { return interleave_pages(block_.bytes(), node_ids); }

  PageId take();            // the free page with one reference; there must be one
  void ref(PageId page);    // one more owner
  void unref(PageId page);  // the last owner returns it
  bool is_shared(PageId page) const { return n_refs_[page] > 1; }

  std::byte* data(size_t layer, PageId page) const {
    return block_.data() + layers_[layer].first + page * layers_[layer].page_bytes;
  }

 private:
  struct Layer {
    size_t page_bytes, first;  // where its pages begin in the block
  };
  std::vector<Layer> layers_;
  AlignedBuffer block_;
  std::vector<uint32_t> n_refs_;  // [n_pages]
  std::vector<PageId> free_;      // a stack; starts so that pages come in ascending order
};

}  // namespace hunch
