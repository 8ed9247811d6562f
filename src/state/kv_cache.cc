#include "state/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/memory_info.h"
#include "formats/format.h"
#include "kernels/hadamard.h"
#include "kernels/kv_groups.h"
#include "kernels/ops.h"
#include "state/kv_tails.h"
#include "state/page_pool.h"
#include "state/slot_map.h"

namespace hunch {
namespace {

size_t pages_for(size_t n_tokens, size_t page_tokens) { return (n_tokens + page_tokens - 1) / page_tokens; }

// One layer's part of a page: K, then V, each [n_head][page_tokens] rows.
struct LayerPage {
  size_t n_head, d_head, row_bytes;
  size_t half_bytes;  // of K, and of V
};

std::vector<LayerPage> layers_of(const KvShape& shape) {
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

std::vector<size_t> page_bytes(std::span<const LayerPage> layers) {
  std::vector<size_t> bytes;
  for (const LayerPage& l : layers) bytes.push_back(2 * l.half_bytes);
  return bytes;
}

// The first of the kept slots that is not its own number, and so moves; their number if none does.
size_t first_moved(std::span<const uint32_t> slots) {
  size_t i = 0;
  while (i < slots.size() && slots[i] == i) ++i;
  return i;
}

}  // namespace

struct KvCache::Impl {
  struct Sequence {
    bool alive = false;
    SlotMap slots;
    std::vector<PageId> pages;                          // as many as the most slots of a head need
    std::vector<std::vector<const std::byte*>> tables;  // [n_layer][page], what attention reads
    std::optional<DeferredInputs> deferred;
    std::optional<KvTails> tails;  // where the cache holds groups
  };

  Impl(const KvShape& s, size_t max_tokens)
      : shape(s),
        layers(layers_of(s)),
        pool(page_bytes(layers), pages_for(max_tokens, s.page_tokens)),
        states(s.recurrent) {}

  std::vector<uint32_t> n_heads() const {
    std::vector<uint32_t> n;
    for (const LayerPage& l : layers) n.push_back(uint32_t(l.n_head));
    return n;
  }

  Sequence& at(SequenceId id) {
    HUNCH_CHECK(id < sequences.size() && sequences[id].alive, "KV sequence {} does not exist", id);
    return sequences[id];
  }

  SequenceId new_id() {
    if (free_ids.empty()) {
      sequences.emplace_back();
      return SequenceId(sequences.size() - 1);
    }
    const SequenceId id = free_ids.back();
    free_ids.pop_back();
    return id;
  }

  void set_page(Sequence& sequence, size_t i, PageId page) {
    sequence.pages.resize(std::max(sequence.pages.size(), i + 1));
    sequence.pages[i] = page;
    for (size_t layer = 0; layer < layers.size(); ++layer) {
      auto& table = sequence.tables[layer];
      table.resize(sequence.pages.size());
      table[i] = pool.data(layer, page);
    }
  }

  // A page of the sequence's own in place of `page`, with the same content.
  void copy_page(Sequence& sequence, size_t i, PageId page) {
    const PageId own = pool.take();
    for (size_t layer = 0; layer < layers.size(); ++layer)
      std::memcpy(pool.data(layer, own), pool.data(layer, page), pool.page_bytes(layer));
    set_page(sequence, i, own);
  }

  // Adds to `pages` those that slots [first, first + n) lie in and that another sequence reads.
  void add_shared(const Sequence& sequence, size_t first, size_t n, std::vector<size_t>& pages) const {
    const size_t end = std::min(pages_for(first + n, shape.page_tokens), sequence.pages.size());
    for (size_t i = first / shape.page_tokens; n > 0 && i < end; ++i)
      if (pool.is_shared(sequence.pages[i]) && std::ranges::find(pages, i) == pages.end()) pages.push_back(i);
  }

  // Those that n more tokens would be written to.
  std::vector<size_t> shared_ahead(const Sequence& sequence, size_t n) const {
    std::vector<size_t> shared;
    sequence.slots.for_each_count([&](size_t n_slots) { add_shared(sequence, n_slots, n, shared); });
    return shared;
  }

  // Tokens that fit into the pages that the sequence has.
  size_t n_tail(const Sequence& sequence) const {
    return sequence.pages.size() * shape.page_tokens - sequence.slots.most_slots();
  }

  // Makes shared pages the sequence's own. Changes nothing when there is no room.
  void own(Sequence& sequence, std::span<const size_t> pages) {
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

  // The K row of a slot; that of V lies half a page further.
  std::byte* row(const Sequence& sequence, size_t layer, size_t head, size_t slot) const {
    return pool.data(layer, sequence.pages[slot / shape.page_tokens]) +
           (head * shape.page_tokens + slot % shape.page_tokens) * layers[layer].row_bytes;
  }

  void encode(std::span<const float> values, std::byte* to) const {
    if (shape.type.dtype == DType::kF16) return to_f16(values, {reinterpret_cast<f16*>(to), values.size()});
    if (!shape.type.rotated) return codec(shape.type.dtype).encode(values.data(), to, values.size());
    thread_local std::vector<float> turned;  // of as many values as the widest head
    turned.assign(values.begin(), values.end());
    hadamard(turned, hadamard_block(turned.size()));
    codec(shape.type.dtype).encode(turned.data(), to, turned.size());
  }

  void decode(const std::byte* from, std::span<float> values) const {
    codec(shape.type.dtype).decode(from, values.data(), values.size());
    if (shape.type.rotated) hadamard(values, hadamard_block(values.size()));
  }

  // Into the tail; and a group that is full, into its page.
  void store_in_group(Sequence& sequence, size_t layer, size_t head, size_t slot, std::span<const float> K,
                      std::span<const float> V) {
    const size_t d = layers[layer].d_head, token = slot % kKvGroup, bits = shape.type.bits;
    f16* const keys = sequence.tails->need(layer, slot / kKvGroup) + head * kKvGroup * d;
    f16* const values = keys + layers[layer].n_head * kKvGroup * d;
    to_f16(K, {keys + token * d, d});
    to_f16(V, {values + token * d, d});
    if (token + 1 < kKvGroup) return;
    std::byte* const to = row(sequence, layer, head, slot - token);
    pack_key_group(bits, {keys, kKvGroup, d}, to);
    for (size_t t = 0; t < kKvGroup; ++t)
      pack_value_row(bits, {values + t * d, d}, to + layers[layer].half_bytes + t * layers[layer].row_bytes);
  }

  // A slot's key of a sequence in groups.
  void load_from_group(const Sequence& sequence, size_t layer, size_t head, size_t slot, std::span<float> to) const {
    const size_t group = slot / kKvGroup, token = slot % kKvGroup;
    if ((group + 1) * kKvGroup <= sequence.slots.n_tokens())
      return ref::unpack_key(shape.type.bits, row(sequence, layer, head, slot - token), token, to);
    const f16* const tail = sequence.tails->find(layer, group) + (head * kKvGroup + token) * to.size();
    std::transform(tail, tail + to.size(), to.begin(), [](f16 h) { return to_f32(h); });
  }

  void store(Sequence& sequence, size_t layer, size_t head, size_t token, std::span<const float> K,
             std::span<const float> V) {
    const size_t slot = sequence.slots.slot_of(layer, head, token);
    HUNCH_CHECK(!pool.is_shared(sequence.pages[slot / shape.page_tokens]),
                "token {} lies in a page that another sequence reads", token);
    if (shape.type.grouped()) return store_in_group(sequence, layer, head, slot, K, V);
    std::byte* const k = row(sequence, layer, head, slot);
    encode(K, k);
    encode(V, k + layers[layer].half_bytes);
  }

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

  // Moves the kept slots, which ascend, to the front.
  void compact(const Sequence& sequence, size_t layer, size_t head, std::span<const uint32_t> kept) {
    const size_t bytes = layers[layer].row_bytes, v_offset = layers[layer].half_bytes;
    for (size_t i = first_moved(kept); i < kept.size(); ++i) {
      std::byte* const to = row(sequence, layer, head, i);
      const std::byte* const from = row(sequence, layer, head, kept[i]);
      std::memcpy(to, from, bytes);
      std::memcpy(to + v_offset, from + v_offset, bytes);
    }
  }

  // The leading pages that two sequences can share: in the others keys are missing, which both sides will yet write.
  size_t n_shareable(const Sequence& sequence) const {
    size_t n = sequence.pages.size();
    for (size_t layer = 0; sequence.deferred && layer < layers.size(); ++layer)
      for (size_t head = 0; head < layers[layer].n_head; ++head) {
        const size_t complete = sequence.deferred->n_complete(layer, head);
        if (complete < sequence.slots.n_tokens())
          n = std::min(n, sequence.slots.slot_of(layer, head, complete) / shape.page_tokens);
      }
    return n;
  }

  void keep_pages(Sequence& sequence, size_t n_pages) {
    while (sequence.pages.size() > n_pages) {
      pool.unref(sequence.pages.back());
      sequence.pages.pop_back();
    }
    for (auto& table : sequence.tables) table.resize(n_pages);
  }

  const KvShape shape;
  const std::vector<LayerPage> layers;
  PagePool pool;
  RecurrentStates states;
  std::vector<Sequence> sequences;
  std::vector<SequenceId> free_ids;
};

KvCache::KvCache(const KvShape& shape, size_t max_tokens) : impl_(std::make_shared<Impl>(shape, max_tokens)) {}

size_t KvCache::bytes_per_token(const KvShape& shape) {
  size_t bytes = 0;
  for (const LayerPage& l : layers_of(shape)) bytes += 2 * l.n_head * l.row_bytes;
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

KvCache::SequenceId KvCache::create() {
  const SequenceId id = impl_->new_id();
  Impl::Sequence& sequence = impl_->sequences[id];
  sequence.alive = true;
  sequence.slots = SlotMap(impl_->n_heads());
  sequence.tables.resize(impl_->layers.size());
  sequence.tails.reset();
  if (impl_->shape.type.grouped()) {
    std::vector<size_t> n_values;
    for (const LayerPage& l : impl_->layers) n_values.push_back(l.n_head * l.d_head);
    sequence.tails.emplace(std::move(n_values));
  }
  HUNCH_CHECK(!is_recurrent() || impl_->states.create() == id, "states of other sequences");
  return id;
}

KvCache::SequenceId KvCache::fork(SequenceId parent) {
  const Impl::Sequence& source = impl_->at(parent);
  const size_t n_shared = impl_->n_shareable(source);
  if (source.pages.size() - n_shared > impl_->pool.n_free())
    fail(ErrorKind::kLimit,
         "the KV cache is full: a copy of {} pages is needed, {} are free; take a larger context (n_ctx) or end other "
         "sequences",
         source.pages.size() - n_shared, impl_->pool.n_free());
  const SequenceId id = create();
  const Impl::Sequence& from = impl_->at(parent);  // after create(), which may move the sequences
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

void KvCache::load_keys(SequenceId id, size_t layer, size_t head, size_t first, MatView<float> K) const {
  const Impl::Sequence& sequence = impl_->at(id);
  HUNCH_CHECK(first + K.rows <= n_slots(id, layer, head) && K.cols == impl_->layers[layer].d_head,
              "load [{}, +{}) of {} slots", first, K.rows, n_slots(id, layer, head));
  for (size_t i = 0; i < K.rows; ++i) {
    if (sequence.tails) {
      impl_->load_from_group(sequence, layer, head, first + i, K.row(i));
    } else {
      impl_->decode(impl_->row(sequence, layer, head, first + i), K.row(i));
    }
  }
}

void KvCache::replace_keys(SequenceId id, size_t layer, size_t head, size_t first, MatView<const float> K) {
  Impl::Sequence& sequence = impl_->at(id);
  HUNCH_CHECK(first + K.rows <= n_slots(id, layer, head) && K.cols == impl_->layers[layer].d_head,
              "replace [{}, +{}) of {} slots", first, K.rows, n_slots(id, layer, head));
  HUNCH_CHECK(!sequence.tails, "keys replaced in groups");
  std::vector<size_t> shared;
  impl_->add_shared(sequence, first, K.rows, shared);
  impl_->own(sequence, shared);
  for (size_t i = 0; i < K.rows; ++i) impl_->encode(K.row(i), impl_->row(sequence, layer, head, first + i));
}

void KvCache::store(SequenceId id, size_t layer, size_t first, MatView<const float> K, MatView<const float> V) {
  Impl::Sequence& sequence = impl_->at(id);
  HUNCH_CHECK(layer < impl_->layers.size(), "layer {} of {}", layer, impl_->layers.size());
  const size_t n_head = impl_->layers[layer].n_head, d_head = impl_->layers[layer].d_head;
  HUNCH_CHECK(K.cols == n_head * d_head && V.cols == K.cols && V.rows == K.rows, "layer {}, K [{}, {}], V [{}, {}]",
              layer, K.rows, K.cols, V.rows, V.cols);
  HUNCH_CHECK(first + K.rows <= sequence.slots.n_tokens(), "store [{}, +{}) of {} tokens", first, K.rows,
              sequence.slots.n_tokens());
  for (size_t t = 0; t < K.rows; ++t)
    for (size_t head = 0; head < n_head; ++head)
      impl_->store(sequence, layer, head, first + t, K.row(t).subspan(head * d_head, d_head),
                   V.row(t).subspan(head * d_head, d_head));
  for (size_t head = 0; sequence.deferred && head < n_head; ++head)
    sequence.deferred->complete(layer, head, first, first + K.rows);
}

void KvCache::store_head(SequenceId id, size_t layer, size_t head, size_t first, MatView<const float> K,
                         MatView<const float> V) {
  Impl::Sequence& sequence = impl_->at(id);
  HUNCH_CHECK(layer < impl_->layers.size() && head < impl_->layers[layer].n_head &&
                  K.cols == impl_->layers[layer].d_head && V.cols == K.cols && V.rows == K.rows,
              "layer {}, head {}, K [{}, {}], V [{}, {}]", layer, head, K.rows, K.cols, V.rows, V.cols);
  HUNCH_CHECK(first + K.rows <= sequence.slots.n_tokens(), "store [{}, +{}) of {} tokens", first, K.rows,
              sequence.slots.n_tokens());
  for (size_t t = 0; t < K.rows; ++t) impl_->store(sequence, layer, head, first + t, K.row(t), V.row(t));
  if (sequence.deferred) sequence.deferred->complete(layer, head, first, first + K.rows);
}

void KvCache::defer(SequenceId id, size_t layer, size_t token, std::span<const float> x) {
  Impl::Sequence& sequence = impl_->at(id);
  HUNCH_CHECK(layer < impl_->layers.size() && token < sequence.slots.n_tokens(), "token {} of {}", token,
              sequence.slots.n_tokens());
  if (!sequence.deferred) sequence.deferred.emplace(impl_->n_heads());
  sequence.deferred->keep(layer, token, x);
}

std::span<const float> KvCache::deferred_input(SequenceId id, size_t layer, size_t token) const {
  return impl_->at(id).deferred->input(layer, token);
}

size_t KvCache::n_complete(SequenceId id, size_t layer, size_t head) const {
  const Impl::Sequence& sequence = impl_->at(id);
  const size_t n_tokens = sequence.slots.n_tokens();
  return sequence.deferred ? std::min(sequence.deferred->n_complete(layer, head), n_tokens) : n_tokens;
}

bool KvCache::can_save(SequenceId id) const {
  if (impl_->shape.type.grouped() || n_fixed(id) > 0 || (is_recurrent() && impl_->states.points(id).empty()))
    return false;
  for (size_t layer = 0; layer < impl_->layers.size(); ++layer)
    for (size_t head = 0; head < impl_->layers[layer].n_head; ++head)
      if (n_complete(id, layer, head) < n_tokens(id)) return false;
  return true;
}

size_t KvCache::saved_bytes(const KvShape& shape, size_t n_tokens, size_t n_points) {
  const size_t keys = n_tokens * bytes_per_token(shape);
  if (shape.recurrent.empty()) return keys;
  return keys + sizeof(uint64_t) * (1 + n_points) +
         sizeof(float) * n_points * RecurrentStates::floats_per_point(shape.recurrent);
}

std::vector<std::byte> KvCache::save(SequenceId id, size_t n_tokens) const {
  HUNCH_CHECK(can_save(id) && n_tokens <= this->n_tokens(id) && (!is_recurrent() || n_tokens == this->n_tokens(id)),
              "save {} of {} tokens", n_tokens, this->n_tokens(id));
  std::vector<uint64_t> points = {0};
  if (is_recurrent())
    for (const size_t point : impl_->states.points(id)) points.push_back(point), ++points[0];
  std::vector<std::byte> bytes(saved_bytes(shape(), n_tokens, points[0]));
  std::byte* to = bytes.data();
  const auto add = [&](const void* from, size_t n) {
    std::memcpy(to, from, n);
    to += n;
  };
  impl_->for_each_stretch(impl_->at(id), n_tokens, [&](std::byte* stored, size_t n) { add(stored, n); });
  if (!is_recurrent()) return bytes;
  add(points.data(), points.size() * sizeof(uint64_t));
  const std::vector<float> states = impl_->states.save(id);
  add(states.data(), states.size() * sizeof(float));
  return bytes;
}

std::optional<std::vector<size_t>> KvCache::saved_points(const KvShape& shape, size_t n_tokens,
                                                         std::span<const std::byte> bytes) {
  const size_t n_keys = n_tokens * bytes_per_token(shape);
  if (shape.recurrent.empty()) return bytes.size() == n_keys ? std::optional(std::vector<size_t>()) : std::nullopt;
  if (bytes.size() < n_keys + sizeof(uint64_t)) return std::nullopt;
  std::span<const std::byte> rest = bytes.subspan(n_keys);
  const auto next = [&] {
    uint64_t value = 0;
    std::memcpy(&value, rest.data(), sizeof value);
    rest = rest.subspan(sizeof value);
    return value;
  };
  const uint64_t n = next();
  if (n == 0 || n > RecurrentStates::kMostCheckpoints + 1 || bytes.size() != saved_bytes(shape, n_tokens, n))
    return std::nullopt;
  std::vector<size_t> points;
  for (uint64_t i = 0; i < n; ++i) {
    points.push_back(next());
    if (points.back() > n_tokens || points.back() == 0 || (i > 0 && points[i - 1] >= points[i])) return std::nullopt;
  }
  return points;
}

void KvCache::load(SequenceId id, size_t n_tokens, std::span<const std::byte> bytes) {
  const auto points = saved_points(shape(), n_tokens, bytes);
  HUNCH_CHECK(this->n_tokens(id) == 0 && points, "{} bytes of {} tokens", bytes.size(), n_tokens);
  append(id, n_tokens);
  const std::byte* from = bytes.data();
  impl_->for_each_stretch(impl_->at(id), n_tokens, [&](std::byte* stored, size_t n) {
    std::memcpy(stored, from, n);
    from += n;
  });
  if (!is_recurrent()) return;
  from += sizeof(uint64_t) * (1 + points->size());
  std::vector<float> states(points->size() * RecurrentStates::floats_per_point(shape().recurrent));
  std::memcpy(states.data(), from, states.size() * sizeof(float));
  impl_->states.truncate(id, 0);
  impl_->states.load(id, *points, states);
  truncate(id, points->back());
}

size_t KvCache::n_alike(size_t position, size_t n) const {
  return impl_->shape.type.grouped() ? std::min(n, kKvGroup - position % kKvGroup) : n;
}

void KvCache::settle(SequenceId id, size_t layer) {
  Impl::Sequence& sequence = impl_->at(id);
  if (sequence.tails) sequence.tails->settle(layer, sequence.slots.n_tokens());
}

KvView KvCache::view(SequenceId id, size_t layer) const {
  const size_t n_tokens = this->n_tokens(id);
  return view(id, layer, n_tokens - std::min<size_t>(n_tokens, 1));
}

KvView KvCache::view(SequenceId id, size_t layer, size_t position) const {
  const Impl::Sequence& sequence = impl_->at(id);
  const KvShape& shape = impl_->shape;
  KvGroups groups;
  if (sequence.tails) {
    const f16* const tail = sequence.tails->find(layer, position / kKvGroup);
    groups = {shape.type.bits, position / kKvGroup * kKvGroup, reinterpret_cast<const std::byte*>(tail)};
  }
  return {sequence.tables[layer],
          shape.page_tokens,
          impl_->layers[layer].n_head,
          impl_->layers[layer].d_head,
          shape.type.dtype,
          impl_->layers[layer].half_bytes,
          sequence.slots.n_tokens(),
          sequence.slots.positions(layer),
          shape.type.rotated,
          groups};
}

}  // namespace hunch
