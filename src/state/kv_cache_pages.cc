// Pages of a KvCache: whose they are, and what becomes of them.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "state/kv_cache_impl.h"

namespace hunch {

bool KvCache::interleave(std::span<const int> node_ids) { return impl_->pool.interleave(node_ids); }

size_t first_moved(std::span<const uint32_t> slots) {
  size_t i = 0;
  while (i < slots.size() && slots[i] == i) ++i;
  return i;
}

KvCache::SequenceId KvCache::Impl::new_id() {
  if (free_ids.empty()) {
    sequences.emplace_back();
    return SequenceId(sequences.size() - 1);
  }
  const SequenceId id = free_ids.back();
  free_ids.pop_back();
  return id;
}

void KvCache::Impl::set_page(Sequence& sequence, size_t i, PageId page) {
  sequence.pages.resize(std::max(sequence.pages.size(), i + 1));
  sequence.pages[i] = page;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    auto& table = sequence.tables[layer];
    table.resize(sequence.pages.size());
    table[i] = pool.data(layer, page);
  }
}

void KvCache::Impl::copy_page(Sequence& sequence, size_t i, PageId page) {
  const PageId own = pool.take();
  if (is_elsewhere()) copies.push_back({page, own});
  for (size_t layer = 0; layer < std::min(layers.size(), first_elsewhere); ++layer)
    std::memcpy(pool.data(layer, own), pool.data(layer, page), pool.page_bytes(layer));
  set_page(sequence, i, own);
}

void KvCache::Impl::add_shared(const Sequence& sequence, size_t first, size_t n, std::vector<size_t>& pages) const {
  const size_t end = std::min(pages_for(first + n, shape.page_tokens), sequence.pages.size());
  for (size_t i = first / shape.page_tokens; n > 0 && i < end; ++i)
    if (pool.is_shared(sequence.pages[i]) && std::ranges::find(pages, i) == pages.end()) pages.push_back(i);
}

std::vector<size_t> KvCache::Impl::shared_ahead(const Sequence& sequence, size_t n) const {
  std::vector<size_t> shared;
  sequence.slots.for_each_count([&](size_t n_slots) { add_shared(sequence, n_slots, n, shared); });
  return shared;
}

void KvCache::Impl::own(Sequence& sequence, std::span<const size_t> pages) {
  if (pages.size() > pool.n_free())
    fail(ErrorKind::kLimit,
         "the KV cache is full: copies of {} pages are needed, {} are free; take a larger context (n_ctx) or end "
         "other sequences",
         pages.size(), pool.n_free());
  for (const size_t i : pages) {
    const PageId shared = sequence.pages[i];
    copy_page(sequence, i, shared);
    pool.unref(shared);
  }
}

void KvCache::Impl::compact(const Sequence& sequence, size_t layer, size_t head, std::span<const uint32_t> kept) {
  const size_t bytes = layers[layer].row_bytes, v_offset = layers[layer].half_bytes;
  for (size_t i = first_moved(kept); i < kept.size(); ++i) {
    std::byte* const to = row(sequence, layer, head, i);
    const std::byte* const from = row(sequence, layer, head, kept[i]);
    std::memcpy(to, from, bytes);
    std::memcpy(to + v_offset, from + v_offset, bytes);
  }
}

size_t KvCache::Impl::n_shareable(const Sequence& sequence) const {
  size_t n = sequence.pages.size();
  for (size_t layer = 0; sequence.deferred && layer < layers.size(); ++layer)
    for (size_t head = 0; head < layers[layer].n_head; ++head) {
      const size_t complete = sequence.deferred->n_complete(layer, head);
      if (complete < sequence.slots.n_tokens())
        n = std::min(n, sequence.slots.slot_of(layer, head, complete) / shape.page_tokens);
    }
  return n;
}

void KvCache::hold_elsewhere(size_t first_layer) { impl_->first_elsewhere = first_layer; }

std::vector<KvCache::PageCopy> KvCache::take_page_copies() { return std::exchange(impl_->copies, {}); }

std::span<const uint32_t> KvCache::pages(SequenceId sequence) const { return impl_->at(sequence).pages; }

size_t KvCache::n_pages() const { return impl_->pool.n_pages(); }

void KvCache::Impl::keep_pages(Sequence& sequence, size_t n_pages) {
  while (sequence.pages.size() > n_pages) {
    pool.unref(sequence.pages.back());
    sequence.pages.pop_back();
  }
  for (auto& table : sequence.tables) table.resize(n_pages);
}

}  // namespace hunch
