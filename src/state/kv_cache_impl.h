// What a KvCache is made of, for its own files: pages and who holds them (kv_cache_pages.cc), rows of keys and values
// (kv_cache_rows.cc), and what is saved of it (kv_cache_saved.cc).
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "kernels/kv_groups.h"
#include "state/deferred_inputs.h"
#include "state/kv_cache.h"
#include "state/kv_tails.h"
#include "state/page_pool.h"
#include "state/slot_map.h"

namespace hunch {

// One layer's part of a page: K, then V, each [n_head][page_tokens] rows.
struct LayerPage {
  size_t n_head, d_head, row_bytes;
  size_t half_bytes;  // of K, and of V
};
// Of all layers. Throws Error{kUnsupported} as KvCache's constructor.
std::vector<LayerPage> layer_pages(const KvShape& shape);

inline size_t pages_for(size_t n_tokens, size_t page_tokens) { return (n_tokens + page_tokens - 1) / page_tokens; }

// The first of the kept slots that is not its own number, and so moves; their number if none does.
size_t first_moved(std::span<const uint32_t> slots);

struct KvCache::Impl {
  struct Sequence {
    bool alive = false;
    SlotMap slots;
    std::vector<PageId> pages;                          // as many as the most slots of a head need
    std::vector<std::vector<const std::byte*>> tables;  // [n_layer][page], what attention reads
    std::optional<DeferredInputs> deferred;
    std::optional<KvTails> tails;  // where the cache holds groups
  };

  Impl(const KvShape& shape, size_t max_tokens);

  std::vector<uint32_t> n_heads() const {
    std::vector<uint32_t> n;
    for (const LayerPage& l : layers) n.push_back(uint32_t(l.n_head));
    return n;
  }

  Sequence& at(SequenceId id) {
    HUNCH_CHECK(id < sequences.size() && sequences[id].alive, "KV sequence {} does not exist", id);
    return sequences[id];
  }
  SequenceId new_id();
  SequenceId add();  // create()

  // kv_cache_pages.cc
  void set_page(Sequence& sequence, size_t i, PageId page);
  // A page of the sequence's own in place of `page`, with the same content.
  void copy_page(Sequence& sequence, size_t i, PageId page);
  // Adds to `pages` those that slots [first, first + n) lie in and that another sequence reads.
  void add_shared(const Sequence& sequence, size_t first, size_t n, std::vector<size_t>& pages) const;
  // Those that n more tokens would be written to.
  std::vector<size_t> shared_ahead(const Sequence& sequence, size_t n) const;
  // Tokens that fit into the pages that the sequence has.
  size_t n_tail(const Sequence& sequence) const {
    return sequence.pages.size() * shape.page_tokens - sequence.slots.most_slots();
  }
  // Makes shared pages the sequence's own. Changes nothing when there is no room.
  void own(Sequence& sequence, std::span<const size_t> pages);
  // Moves the kept slots, which ascend, to the front.
  void compact(const Sequence& sequence, size_t layer, size_t head, std::span<const uint32_t> kept);
  // The leading pages that two sequences can share: in the others keys are missing, which both sides will yet write.
  size_t n_shareable(const Sequence& sequence) const;
  void keep_pages(Sequence& sequence, size_t n_pages);

  // kv_cache_rows.cc
  // The K row of a slot; that of V lies half a page further.
  std::byte* row(const Sequence& sequence, size_t layer, size_t head, size_t slot) const;
  void encode(std::span<const float> values, std::byte* to) const;
  void decode(const std::byte* from, std::span<float> values) const;
  // Into the tail; and a group that is full, into its page.
  void store_in_group(Sequence& sequence, size_t layer, size_t head, size_t slot, std::span<const float> K,
                      std::span<const float> V);
  // A slot's key of a sequence in groups.
  void load_from_group(const Sequence& sequence, size_t layer, size_t head, size_t slot, std::span<float> to) const;
  void store(Sequence& sequence, size_t layer, size_t head, size_t token, std::span<const float> K,
             std::span<const float> V);

  // Calls with(data, n_bytes) for the rows of a sequence's first n tokens: layer by layer, keys before values, head by
  // head, as far as they lie side by side.
  template <class With>
  void for_each_stretch(const Sequence& sequence, size_t n_tokens, const With& with) const {
    for (size_t layer = 0; layer < layers.size(); ++layer)
      for (const size_t half : {size_t{0}, layers[layer].half_bytes})
        for (size_t head = 0; head < layers[layer].n_head; ++head)
          for (size_t first = 0; first < n_tokens; first += shape.page_tokens)
            with(row(sequence, layer, head, first) + half,
                 std::min(shape.page_tokens, n_tokens - first) * layers[layer].row_bytes);
  }

  const KvShape shape;
  const std::vector<LayerPage> layers;
  PagePool pool;
  RecurrentStates states;
  std::vector<Sequence> sequences;
  std::vector<SequenceId> free_ids;
  size_t first_elsewhere = SIZE_MAX;  // of the layers whose keys lie on a device; SIZE_MAX: none does
  bool is_elsewhere() const { return first_elsewhere != SIZE_MAX; }
  std::vector<PageCopy> copies;  // where it is
  std::unique_ptr<CacheJournal> journal;
};

}  // namespace hunch
