// Rows of a KvCache: keys and values written, read and handed to attention.
#include <algorithm>

#include "base/error.h"
#include "formats/format.h"
#include "kernels/hadamard.h"
#include "kernels/ops.h"
#include "state/kv_cache_impl.h"

namespace hunch {

std::byte* KvCache::Impl::row(const Sequence& sequence, size_t layer, size_t head, size_t slot) const {
  return pool.data(layer, sequence.pages[slot / shape.page_tokens]) +
         (head * shape.page_tokens + slot % shape.page_tokens) * layers[layer].row_bytes;
}

void KvCache::Impl::encode(std::span<const float> values, std::byte* to) const {
  if (shape.type.dtype == DType::kF16) return to_f16(values, {reinterpret_cast<f16*>(to), values.size()});
  if (!shape.type.rotated) return codec(shape.type.dtype).encode(values.data(), to, values.size());
  thread_local std::vector<float> turned;  // of as many values as the widest head
  turned.assign(values.begin(), values.end());
  hadamard(turned, hadamard_block(turned.size()));
  codec(shape.type.dtype).encode(turned.data(), to, turned.size());
}

void KvCache::Impl::decode(const std::byte* from, std::span<float> values) const {
  codec(shape.type.dtype).decode(from, values.data(), values.size());
  if (shape.type.rotated) hadamard(values, hadamard_block(values.size()));
}

void KvCache::Impl::store_in_group(Sequence& sequence, size_t layer, size_t head, size_t slot, std::span<const float> K,
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

void KvCache::Impl::load_from_group(const Sequence& sequence, size_t layer, size_t head, size_t slot,
                                    std::span<float> to) const {
  const size_t group = slot / kKvGroup, token = slot % kKvGroup;
  if ((group + 1) * kKvGroup <= sequence.slots.n_tokens())
    return ref::unpack_key(shape.type.bits, row(sequence, layer, head, slot - token), token, to);
  const f16* const tail = sequence.tails->find(layer, group) + (head * kKvGroup + token) * to.size();
  std::transform(tail, tail + to.size(), to.begin(), [](f16 h) { return to_f32(h); });
}

void KvCache::Impl::store(Sequence& sequence, size_t layer, size_t head, size_t token, std::span<const float> K,
                          std::span<const float> V) {
  const size_t slot = sequence.slots.slot_of(layer, head, token);
  HUNCH_CHECK(!pool.is_shared(sequence.pages[slot / shape.page_tokens]),
              "token {} lies in a page that another sequence reads", token);
  if (shape.type.grouped()) return store_in_group(sequence, layer, head, slot, K, V);
  std::byte* const k = row(sequence, layer, head, slot);
  encode(K, k);
  encode(V, k + layers[layer].half_bytes);
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
    const LayerPage& l = impl_->layers[layer];
    groups = {shape.type.bits, position / kKvGroup * kKvGroup, reinterpret_cast<const std::byte*>(tail),
              l.n_head * kKvGroup * l.d_head * sizeof(f16)};
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
