// Paged storage for keys and values (Kwon et al. 2023, "PagedAttention"): fixed-size pages from one
// pool, a page table per sequence, copy-on-write when sequences share a prefix. Can drop tokens anywhere, by layer and
// head, and knows nothing of who selects them.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/rows.h"
#include "formats/kv_type.h"
#include "kernels/attention.h"
#include "state/cache_journal.h"
#include "state/deferred_inputs.h"
#include "state/recurrent_states.h"
#include "state/state_store.h"

namespace hunch {

// One layer's; none where it remembers no tokens.
struct KvHeads {
  size_t n_kv_head = 0, d_head = 0;
};

struct KvShape {
  std::vector<KvHeads> layers;
  KvType type;  // any that can be written, if every d_head is a multiple of its blocks
  size_t page_tokens = 32;
  std::vector<RecurrentSize> recurrent = {};  // [n_layer], or empty: no layer is recurrent

  size_t n_layer() const { return layers.size(); }
};

// Every token that is appended gets a slot in every head of every layer: at first, slot t is token t, and its position.
// keep() drops slots and moves the others together. From then on the layer's slots have positions, each head its own,
// and the tokens that follow take the slots that became free, while the sequence goes on counting its tokens
// (n_tokens), which is the next one's position. Tokens are named by position, except where a contract says slot.
//
// The states of recurrent layers stand beside it under the same ids, and follow what becomes of the sequences.
class KvCache final : public StateStore {
 public:
  // Room for `max_tokens` tokens over all sequences (rounded up to whole pages). Memory is reserved
  // now and touched page by page as it is used. Throws Error{kMemory}, and Error{kUnsupported} for a dtype whose blocks
  // d_head does not fill, or that cannot be written.
  KvCache(const KvShape& shape, size_t max_tokens);

  // Bytes that one token takes over all layers, that a sequence takes whatever its length, and that a cache for
  // max_tokens reserves.
  static size_t bytes_per_token(const KvShape& shape);
  static size_t bytes_per_sequence(const KvShape& shape);
  size_t bytes() const;
  const KvShape& shape() const;

  SequenceId create() override;
  // Shares all pages; written pages are copied first, and at once those in which keys are missing.
  SequenceId fork(SequenceId parent) override;
  void release(SequenceId sequence) override;  // its pages return to the pool
  size_t n_tokens(SequenceId sequence) const override;
  size_t n_slots(SequenceId sequence, size_t layer, size_t head) const;
  size_t most_slots(SequenceId sequence) const;  // of any layer and head
  // The position of the first slot where move_leading() moved it; else 0. What counts positions by slot counts from it.
  size_t n_moved(SequenceId sequence) const;
  size_t n_free_tokens() const;  // tokens that still fit if appended to one sequence at a page boundary

  // Pages of shape().page_tokens tokens that append(n) takes from the pool, and the tokens that it appends at most
  // where it may take so many: what others read is copied before it is written beside.
  size_t n_new_pages(SequenceId sequence, size_t n) const;
  size_t n_room(SequenceId sequence, size_t n_pages) const;
  // In all layers.
  void append(SequenceId sequence, size_t n) override;
  // Every token has rows of its own: nothing is kept to take it back.
  void commit(SequenceId) override {}
  void truncate(SequenceId sequence, size_t n_tokens) override;
  // What keep() dropped does not come back: not to fewer tokens than n_fixed(), but for none; nor to those that
  // recurrent layers have no state of; nor, in a cache in groups, into a group of more than KvTails::kKept tokens ago,
  // whose tokens are known in codes only.
  size_t back_to(SequenceId sequence, size_t n_tokens) const override;
  size_t n_fixed(SequenceId sequence) const;  // tokens when keep() last dropped one, 0 if it never did
  bool is_recurrent() const { return !shape().recurrent.empty(); }
  RecurrentStates& states();
  const RecurrentStates& states() const;
  // RecurrentStates::checkpoint(); nothing where no layer is recurrent.
  void checkpoint(SequenceId sequence);

  // From now on, until the cache ends. Then nothing is saved or loaded: the other caches have other keys.
  void keep_journal(std::unique_ptr<CacheJournal> journal);
  bool has_journal() const;

  // Drops all slots of a layer but these, one list per KV head, whose slots become 0, 1, ... in the same order. Pages
  // that no layer needs any more return to the pool. All tokens of a head that drops some must be complete, and stored:
  // call it between passes, since a pass that fails cannot be rolled back across it. Not of a cache in groups. Pages
  // that other sequences read are copied first; throws Error{kLimit} when there is no room for that, and nothing has
  // changed then.
  void keep(SequenceId sequence, size_t layer, std::span<const Rows> slots) override;

  // Stores K and V of tokens [first, first + n) of one layer, converting to the cache's dtype.
  //   K, V  [n, n_kv_head * d_head], rows may be strided
  // May be called for disjoint ranges from several threads at once.
  void store(SequenceId sequence, size_t layer, size_t first, MatView<const float> K, MatView<const float> V);

  // The same for one KV head: K, V [n, d_head].
  void store_head(SequenceId sequence, size_t layer, size_t head, size_t first, MatView<const float> K,
                  MatView<const float> V);

  // In a layer that dropped tokens, the first n slots of every head from now on hold positions first, first + 1, ...,
  // all before that of the slot after them. Their keys stay as they are.
  void move_leading(SequenceId sequence, size_t layer, size_t n, size_t first);

  // Keys of slots [first, first + K.rows) of one head, as f32, and their replacement; K [n, d_head]. With these a
  // caller that counts positions by slot (Xiao et al. 2023, "StreamingLLM", section 3.2) rotates keys on by the
  // difference of two positions, after it dropped some: rotations add up. The cache stays ignorant of rotations, and
  // attention reads keys as they lie; storing unrotated keys instead would have it rotate every key anew for every
  // token. replace_keys() copies pages that others read, as keep() does, and throws the same; one thread at a time.
  void load_keys(SequenceId sequence, size_t layer, size_t head, size_t first, MatView<float> K) const;
  void replace_keys(SequenceId sequence, size_t layer, size_t head, size_t first, MatView<const float> K);

  // Keys and values may be computed later than their token, head by head: keeps `x`, from which those of `token` will
  // be, for at most kMaxDeferred tokens that a head is behind. Until then store() and store_head() must continue where
  // the head's own keys end, and are called from one thread.
  static constexpr size_t kMaxDeferred = DeferredInputs::kCapacity;
  void defer(SequenceId sequence, size_t layer, size_t token, std::span<const float> x);
  std::span<const float> deferred_input(SequenceId sequence, size_t layer, size_t token) const;
  // Leading tokens whose keys and values the head has; of a layer where nothing was deferred: at least all that were
  // stored.
  size_t n_complete(SequenceId sequence, size_t layer, size_t head) const;

  // Keys and values of a sequence's first n tokens as bytes, layer by layer, as the cache holds them: of sequences from
  // which nothing was dropped, when all keys are there; not of caches in groups. Of recurrent layers the states follow
  // that the sequence can go back to: their number, the lengths (u64 each) and the states.
  bool can_save(SequenceId sequence) const;
  static size_t saved_bytes(const KvShape& shape, size_t n_tokens, size_t n_points = 0);
  std::vector<std::byte> save(SequenceId sequence, size_t n_tokens) const;
  // The lengths that the saved text can go back to, ascending; without recurrent layers none are named: any. nullopt
  // where these are not the bytes of so many tokens.
  static std::optional<std::vector<size_t>> saved_points(const KvShape& shape, size_t n_tokens,
                                                         std::span<const std::byte> bytes);
  // Appends to an empty sequence what save() gave of n tokens in a cache of the same shape; of recurrent layers as many
  // of them as their last state knows. Throws as append().
  void load(SequenceId sequence, size_t n_tokens, std::span<const std::byte> bytes);

  // Has its pages lie on these NUMA nodes in turn: every thread reads of all of them, and none of them has all readers.
  // False: the system does not do that.
  bool interleave(std::span<const int> node_ids);

  // Keys and values of layers [first_layer, ...) lie elsewhere, on a device: of these this counts tokens and pages, and
  // its own memory stays untouched. From now on nothing can be saved, and take_page_copies() has what whoever holds
  // them must copy too.
  void hold_elsewhere(size_t first_layer = 0);
  struct PageCopy {
    uint32_t from, to;
  };
  // Since the last call, in the order in which they were made.
  std::vector<PageCopy> take_page_copies();
  // The numbers of a sequence's pages, all below n_pages(): slot t lies in the (t / page_tokens)-th. Valid until the
  // sequence is next changed.
  std::span<const uint32_t> pages(SequenceId sequence) const;
  size_t n_pages() const;

  // The layer as attention reads it; valid until the sequence is next changed.
  KvView view(SequenceId sequence, size_t layer) const;
  // As the query of that position reads it, one of the newest pass. A cache in groups (KvType::grouped()) has it read
  // the group that it lies in as its tokens were stored, in f16, and the groups before as codes; so that it does not
  // matter what else is computed with it. Of n tokens from `position` on, the first n_alike() read the same view.
  KvView view(SequenceId sequence, size_t layer, size_t position) const;
  size_t n_alike(size_t position, size_t n) const;
  // Nobody will read this layer again in the newest pass: frees what only its tokens read.
  void settle(SequenceId sequence, size_t layer);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hunch
