#include "state/kv_cache.h"

#include <algorithm>

#include "base/checked_math.h"
#include "base/error.h"
#include "state/kv_cache_impl.h"

namespace hunch {
namespace {

std::vector<size_t> page_bytes(std::span<const LayerPage> layers) {
  std::vector<size_t> bytes;
  for (const LayerPage& l : layers) bytes.push_back(2 * l.half_bytes);
  return bytes;
}

}  // namespace

std::vector<LayerPage> layer_pages(const KvShape& shape) {
  HUNCH_CHECK(shape.n_layer() && shape.page_tokens, "empty KV shape");
  HUNCH_CHECK(!shape.type.grouped() || shape.page_tokens == kKvGroup, "groups on pages of {} tokens",
              shape.page_tokens);
  std::vector<LayerPage> layers;
  for (const KvHeads& heads : shape.layers) {
    if (heads.n_kv_head == 0) {
      layers.push_back({});
      continue;
    }
    HUNCH_CHECK(heads.d_head, "heads of nothing");
    check_kv_type(shape.type, heads.d_head);
    const size_t row = kv_value_bytes(shape.type, heads.d_head);
    layers.push_back({heads.n_kv_head, heads.d_head, row,
                      round_up(heads.n_kv_head * shape.page_tokens * row, AlignedBuffer::kAlignBytes)});
  }
  return layers;
}

KvCache::Impl::Impl(const KvShape& s, size_t max_tokens)
    : shape(s),
      layers(layer_pages(s)),
      pool(page_bytes(layers), pages_for(max_tokens, s.page_tokens)),
      states(s.recurrent) {}

KvCache::KvCache(const KvShape& shape, size_t max_tokens) : impl_(std::make_shared<Impl>(shape, max_tokens)) {}

size_t KvCache::bytes_per_token(const KvShape& shape) {
  size_t bytes = 0;
  for (const LayerPage& l : layer_pages(shape)) bytes += 2 * l.n_head * l.row_bytes;
  return bytes;
}

size_t KvCache::bytes_per_sequence(const KvShape& shape) {
  size_t bytes = RecurrentStates::bytes_per_sequence(shape.recurrent);
  if (shape.type.grouped())
    for (const KvHeads& heads : shape.layers) bytes += KvTails::bytes(heads.n_kv_head * heads.d_head);
  return bytes;
}

RecurrentStates& KvCache::states() { return impl_->states; }
const RecurrentStates& KvCache::states() const { return impl_->states; }

void KvCache::checkpoint(SequenceId sequence) {
  if (!is_recurrent()) return;
  impl_->states.checkpoint(sequence);
  if (impl_->journal) impl_->journal->checkpointed(sequence);
}

void KvCache::keep_journal(std::unique_ptr<CacheJournal> journal) { impl_->journal = std::move(journal); }
bool KvCache::has_journal() const { return bool(impl_->journal); }

size_t KvCache::bytes() const { return impl_->pool.bytes(); }
const KvShape& KvCache::shape() const { return impl_->shape; }
size_t KvCache::n_tokens(SequenceId sequence) const { return impl_->at(sequence).slots.n_tokens(); }
size_t KvCache::n_fixed(SequenceId sequence) const { return impl_->at(sequence).slots.n_fixed(); }
size_t KvCache::n_slots(SequenceId sequence, size_t layer, size_t head) const {
  return impl_->at(sequence).slots.n_slots(layer, head);
}

size_t KvCache::most_slots(SequenceId sequence) const { return impl_->at(sequence).slots.most_slots(); }
size_t KvCache::back_to(SequenceId sequence, size_t n_tokens) const {
  if (n_tokens < n_fixed(sequence)) return 0;
  const std::optional<KvTails>& tails = impl_->at(sequence).tails;
  if (tails && n_tokens % kKvGroup != 0 && !tails->has(n_tokens)) n_tokens -= n_tokens % kKvGroup;
  if (!is_recurrent()) return n_tokens;
  const size_t n = impl_->states.back_to(sequence, n_tokens);
  return n < n_fixed(sequence) ? 0 : n;
}

size_t KvCache::n_moved(SequenceId sequence) const { return impl_->at(sequence).slots.n_moved(); }
size_t KvCache::n_free_tokens() const { return impl_->pool.n_free() * impl_->shape.page_tokens; }

KvCache::SequenceId KvCache::Impl::add() {
  const SequenceId id = new_id();
  Sequence& sequence = sequences[id];
  sequence.alive = true;
  sequence.slots = SlotMap(n_heads());
  sequence.tables.resize(layers.size());
  sequence.tails.reset();
  if (shape.type.grouped()) {
    std::vector<size_t> n_values;
    for (const LayerPage& l : layers) n_values.push_back(l.n_head * l.d_head);
    sequence.tails.emplace(std::move(n_values));
  }
  HUNCH_CHECK(shape.recurrent.empty() || states.create() == id, "states of other sequences");
  return id;
}

KvCache::SequenceId KvCache::create() {
  if (impl_->journal) impl_->journal->created();
  return impl_->add();
}

KvCache::SequenceId KvCache::fork(SequenceId parent) {
  const Impl::Sequence& source = impl_->at(parent);
  const size_t n_shared = impl_->n_shareable(source);
  if (source.pages.size() - n_shared > impl_->pool.n_free())
    fail(ErrorKind::kLimit,
         "the KV cache is full: a copy of {} pages is needed, {} are free; take a larger context (n_ctx) or end other "
         "sequences",
         source.pages.size() - n_shared, impl_->pool.n_free());
  if (impl_->journal) impl_->journal->forked(parent);
  const SequenceId id = impl_->add();
  const Impl::Sequence& from = impl_->at(parent);  // after add(), which may move the sequences
  Impl::Sequence& to = impl_->at(id);
  to.slots = from.slots;
  to.pages = from.pages;
  to.tables = from.tables;
  to.deferred = from.deferred;
  to.tails = from.tails;
  if (is_recurrent()) impl_->states.assign(id, parent);
  for (size_t i = 0; i < to.pages.size(); ++i) {
    if (i < n_shared) {
      impl_->pool.ref(to.pages[i]);
    } else {
      impl_->copy_page(to, i, from.pages[i]);
    }
  }
  return id;
}

void KvCache::release(SequenceId id) {
  Impl::Sequence& sequence = impl_->at(id);
  if (impl_->journal) impl_->journal->released(id);
  impl_->keep_pages(sequence, 0);
  sequence.alive = false;
  sequence.deferred.reset();
  sequence.tails.reset();
  impl_->free_ids.push_back(id);
  if (is_recurrent()) impl_->states.release(id);
}

size_t KvCache::n_new_pages(SequenceId id, size_t n) const {
  const Impl::Sequence& sequence = impl_->at(id);
  const size_t n_tail = impl_->n_tail(sequence);
  return impl_->shared_ahead(sequence, n).size() + (n > n_tail ? pages_for(n - n_tail, impl_->shape.page_tokens) : 0);
}

size_t KvCache::n_room(SequenceId id, size_t n_pages) const {
  const Impl::Sequence& sequence = impl_->at(id);
  const size_t n_copied = impl_->shared_ahead(sequence, 1).size();
  return n_pages < n_copied ? 0 : (n_pages - n_copied) * impl_->shape.page_tokens + impl_->n_tail(sequence);
}

void KvCache::append(SequenceId id, size_t n) {
  Impl::Sequence& sequence = impl_->at(id);
  PagePool& pool = impl_->pool;
  const size_t page_tokens = impl_->shape.page_tokens, n_old = sequence.pages.size();
  // Half-full pages that are shared with another sequence become this sequence's own.
  const std::vector<size_t> shared = impl_->shared_ahead(sequence, n);
  const size_t n_new = n_new_pages(id, n) - shared.size();
  if (n_new + shared.size() > pool.n_free())
    fail(ErrorKind::kLimit,
         "the KV cache is full: {} more tokens need {} pages of {} tokens, {} of {} are free; take a larger context "
         "(n_ctx) or end "
         "other sequences",
         n, n_new + shared.size(), page_tokens, pool.n_free(), pool.n_pages());
  impl_->own(sequence, shared);
  for (size_t i = 0; i < n_new; ++i) impl_->set_page(sequence, n_old + i, pool.take());
  if (sequence.tails) sequence.tails->begin(sequence.slots.n_tokens());
  sequence.slots.append(n);
  if (is_recurrent()) impl_->states.append(id, n);
}

void KvCache::truncate(SequenceId id, size_t n_tokens) {
  Impl::Sequence& sequence = impl_->at(id);
  HUNCH_CHECK(n_tokens <= sequence.slots.n_tokens(), "truncate to {} of {} tokens", n_tokens,
              sequence.slots.n_tokens());
  HUNCH_CHECK(!sequence.tails || n_tokens % kKvGroup == 0 || sequence.tails->has(n_tokens),
              "truncate to {} tokens, within a group", n_tokens);
  if (impl_->journal) impl_->journal->truncated(id, n_tokens);
  sequence.slots.truncate(n_tokens);
  if (sequence.tails) sequence.tails->truncate(n_tokens);
  impl_->keep_pages(sequence, pages_for(sequence.slots.most_slots(), impl_->shape.page_tokens));
  if (sequence.deferred) sequence.deferred->truncate(n_tokens);
  if (is_recurrent()) impl_->states.truncate(id, n_tokens);
}

void KvCache::keep(SequenceId id, size_t layer, std::span<const Rows> slots) {
  Impl::Sequence& sequence = impl_->at(id);
  HUNCH_CHECK(layer < impl_->layers.size() && slots.size() == impl_->layers[layer].n_head,
              "layer {}, lists of {} heads", layer, slots.size());
  std::vector<size_t> shared;
  bool drops = false;
  for (size_t head = 0; head < slots.size(); ++head) {
    const std::span<const uint32_t> ids = slots[head].ids();
    const size_t n_slots = sequence.slots.n_slots(layer, head);
    if (slots[head].is_all() || ids.size() == n_slots) continue;
    HUNCH_CHECK(!sequence.tails, "slots dropped out of groups");
    HUNCH_CHECK(ids.empty() || ids.back() < n_slots, "slot {} of {}", ids.back(), n_slots);
    HUNCH_CHECK(n_complete(id, layer, head) == sequence.slots.n_tokens(), "keys of tokens from {} are missing",
                n_complete(id, layer, head));
    const size_t first = first_moved(ids);
    impl_->add_shared(sequence, first, ids.size() - first, shared);
    drops = true;
  }
  if (!drops) return;
  impl_->own(sequence, shared);
  for (size_t head = 0; head < slots.size(); ++head) impl_->compact(sequence, layer, head, slots[head].ids());
  sequence.slots.keep(layer, slots);
  impl_->keep_pages(sequence, pages_for(sequence.slots.most_slots(), impl_->shape.page_tokens));
}

void KvCache::move_leading(SequenceId id, size_t layer, size_t n, size_t first) {
  impl_->at(id).slots.move_leading(layer, n, first);
}

}  // namespace hunch
