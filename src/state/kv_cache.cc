#include "state/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/memory_info.h"
#include "kernels/ops.h"
#include "state/page_pool.h"

namespace hunch {
namespace {

size_t pages_for(size_t n_tokens, size_t page_tokens) { return (n_tokens + page_tokens - 1) / page_tokens; }

// K of one page in one layer; V follows at this offset, and is as large.
size_t half_page_bytes(const KvShape& shape) {
  const size_t bytes = shape.n_kv_head * shape.page_tokens * row_bytes(shape.dtype, shape.d_head);
  return round_up(bytes, AlignedBuffer::kAlignBytes);
}

const KvShape& checked(const KvShape& shape) {
  HUNCH_CHECK(shape.n_layer && shape.n_kv_head && shape.d_head && shape.page_tokens, "empty KV shape");
  HUNCH_CHECK(shape.dtype == DType::kF32 || shape.dtype == DType::kF16, "KV dtype {}", name_of(shape.dtype));
  return shape;
}

}  // namespace

struct KvCache::Impl {
  struct Sequence {
    bool alive = false;
    size_t n_tokens = 0;
    std::vector<PageId> pages;
    std::vector<std::vector<const std::byte*>> tables;  // [n_layer][page], what attention reads
    std::optional<DeferredInputs> deferred;
  };

  Impl(const KvShape& s, size_t max_tokens)
      : shape(checked(s)), pool(s.n_layer, 2 * half_page_bytes(s), pages_for(max_tokens, s.page_tokens)) {}

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
    for (size_t layer = 0; layer < shape.n_layer; ++layer) {
      auto& table = sequence.tables[layer];
      table.resize(sequence.pages.size());
      table[i] = pool.data(layer, page);
    }
  }

  // A page of the sequence's own in place of `page`, with the same content.
  void copy_page(Sequence& sequence, size_t i, PageId page) {
    const PageId own = pool.take();
    for (size_t layer = 0; layer < shape.n_layer; ++layer)
      std::memcpy(pool.data(layer, own), pool.data(layer, page), pool.page_bytes());
    set_page(sequence, i, own);
  }

  void store(const Sequence& sequence, size_t layer, size_t head, size_t token, std::span<const float> K,
             std::span<const float> V) {
    const PageId page = sequence.pages[token / shape.page_tokens];
    HUNCH_CHECK(!pool.is_shared(page), "token {} lies in a page that another sequence reads", token);
    const size_t head_bytes = row_bytes(shape.dtype, shape.d_head);
    std::byte* k = pool.data(layer, page) + (head * shape.page_tokens + token % shape.page_tokens) * head_bytes;
    std::byte* v = k + half_page_bytes(shape);
    if (shape.dtype == DType::kF16) {
      to_f16(K, {reinterpret_cast<f16*>(k), shape.d_head});
      to_f16(V, {reinterpret_cast<f16*>(v), shape.d_head});
    } else {
      std::memcpy(k, K.data(), head_bytes);
      std::memcpy(v, V.data(), head_bytes);
    }
  }

  void keep_pages(Sequence& sequence, size_t n_pages) {
    while (sequence.pages.size() > n_pages) {
      pool.unref(sequence.pages.back());
      sequence.pages.pop_back();
    }
    for (auto& table : sequence.tables) table.resize(n_pages);
  }

  const KvShape shape;
  PagePool pool;
  std::vector<Sequence> sequences;
  std::vector<SequenceId> free_ids;
};

KvCache::KvCache(const KvShape& shape, size_t max_tokens) : impl_(std::make_shared<Impl>(shape, max_tokens)) {}

size_t KvCache::bytes_per_token(const KvShape& shape) {
  return shape.n_layer * shape.n_kv_head * 2 * row_bytes(shape.dtype, shape.d_head);
}
size_t KvCache::bytes() const { return impl_->pool.bytes(); }
const KvShape& KvCache::shape() const { return impl_->shape; }
size_t KvCache::n_tokens(SequenceId sequence) const { return impl_->at(sequence).n_tokens; }
size_t KvCache::n_free_tokens() const { return impl_->pool.n_free() * impl_->shape.page_tokens; }

KvCache::SequenceId KvCache::create() {
  const SequenceId id = impl_->new_id();
  Impl::Sequence& sequence = impl_->sequences[id];
  sequence.alive = true;
  sequence.n_tokens = 0;
  sequence.tables.resize(impl_->shape.n_layer);
  return id;
}

KvCache::SequenceId KvCache::fork(SequenceId parent) {
  const Impl::Sequence& source = impl_->at(parent);
  // Both sides will yet write where keys are missing.
  const size_t n_complete =
      source.deferred ? std::min(source.deferred->n_complete(), source.n_tokens) : source.n_tokens;
  const size_t n_shared = n_complete < source.n_tokens ? n_complete / impl_->shape.page_tokens : source.pages.size();
  if (source.pages.size() - n_shared > impl_->pool.n_free())
    fail(ErrorKind::kLimit,
         "the KV cache is full: a copy of {} pages is needed, {} are free; raise --ctx or end other sequences",
         source.pages.size() - n_shared, impl_->pool.n_free());
  const SequenceId id = create();
  const Impl::Sequence& from = impl_->at(parent);  // after create(), which may move the sequences
  Impl::Sequence& to = impl_->at(id);
  to.n_tokens = from.n_tokens;
  to.pages = from.pages;
  to.tables = from.tables;
  to.deferred = from.deferred;
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
  impl_->free_ids.push_back(id);
}

void KvCache::append(SequenceId id, size_t n) {
  Impl::Sequence& sequence = impl_->at(id);
  PagePool& pool = impl_->pool;
  const size_t page_tokens = impl_->shape.page_tokens, n_old = sequence.pages.size();
  // The last page, half full and shared with another sequence, becomes this sequence's own.
  const bool copies = n > 0 && sequence.n_tokens % page_tokens != 0 && pool.is_shared(sequence.pages.back());
  const size_t n_room = n_old * page_tokens - sequence.n_tokens;
  const size_t n_new = n > n_room ? pages_for(n - n_room, page_tokens) : 0;
  if (n_new + copies > pool.n_free())
    fail(ErrorKind::kLimit,
         "the KV cache is full: {} more tokens need {} pages of {} tokens, {} of {} are free; raise --ctx or end "
         "other sequences",
         n, n_new + copies, page_tokens, pool.n_free(), pool.n_pages());
  if (copies) {
    const PageId shared = sequence.pages.back();
    impl_->copy_page(sequence, n_old - 1, shared);
    pool.unref(shared);
  }
  for (size_t i = 0; i < n_new; ++i) impl_->set_page(sequence, n_old + i, pool.take());
  sequence.n_tokens += n;
}

void KvCache::truncate(SequenceId id, size_t n_tokens) {
  Impl::Sequence& sequence = impl_->at(id);
  HUNCH_CHECK(n_tokens <= sequence.n_tokens, "truncate to {} of {} tokens", n_tokens, sequence.n_tokens);
  impl_->keep_pages(sequence, pages_for(n_tokens, impl_->shape.page_tokens));
  sequence.n_tokens = n_tokens;
  if (sequence.deferred) sequence.deferred->truncate(n_tokens);
}

void KvCache::store(SequenceId id, size_t layer, size_t first, MatView<const float> K, MatView<const float> V) {
  const KvShape& shape = impl_->shape;
  Impl::Sequence& sequence = impl_->at(id);
  const size_t d_head = shape.d_head;
  HUNCH_CHECK(layer < shape.n_layer && K.cols == shape.n_kv_head * d_head && V.cols == K.cols && V.rows == K.rows,
              "layer {}, K [{}, {}], V [{}, {}]", layer, K.rows, K.cols, V.rows, V.cols);
  HUNCH_CHECK(first + K.rows <= sequence.n_tokens, "store [{}, +{}) of {} tokens", first, K.rows, sequence.n_tokens);
  for (size_t t = 0; t < K.rows; ++t)
    for (size_t head = 0; head < shape.n_kv_head; ++head)
      impl_->store(sequence, layer, head, first + t, K.row(t).subspan(head * d_head, d_head),
                   V.row(t).subspan(head * d_head, d_head));
  for (size_t head = 0; sequence.deferred && head < shape.n_kv_head; ++head)
    sequence.deferred->complete(layer, head, first, first + K.rows);
}

void KvCache::store_head(SequenceId id, size_t layer, size_t head, size_t first, MatView<const float> K,
                         MatView<const float> V) {
  Impl::Sequence& sequence = impl_->at(id);
  HUNCH_CHECK(layer < impl_->shape.n_layer && head < impl_->shape.n_kv_head && K.cols == impl_->shape.d_head &&
                  V.cols == K.cols && V.rows == K.rows,
              "layer {}, head {}, K [{}, {}], V [{}, {}]", layer, head, K.rows, K.cols, V.rows, V.cols);
  HUNCH_CHECK(first + K.rows <= sequence.n_tokens, "store [{}, +{}) of {} tokens", first, K.rows, sequence.n_tokens);
  for (size_t t = 0; t < K.rows; ++t) impl_->store(sequence, layer, head, first + t, K.row(t), V.row(t));
  if (sequence.deferred) sequence.deferred->complete(layer, head, first, first + K.rows);
}

void KvCache::defer(SequenceId id, size_t layer, size_t token, std::span<const float> x) {
  Impl::Sequence& sequence = impl_->at(id);
  HUNCH_CHECK(layer < impl_->shape.n_layer && token < sequence.n_tokens, "token {} of {}", token, sequence.n_tokens);
  if (!sequence.deferred) sequence.deferred.emplace(impl_->shape.n_layer, impl_->shape.n_kv_head);
  sequence.deferred->keep(layer, token, x);
}

std::span<const float> KvCache::deferred_input(SequenceId id, size_t layer, size_t token) const {
  return impl_->at(id).deferred->input(layer, token);
}

size_t KvCache::n_complete(SequenceId id, size_t layer, size_t head) const {
  const Impl::Sequence& sequence = impl_->at(id);
  return sequence.deferred ? std::min(sequence.deferred->n_complete(layer, head), sequence.n_tokens)
                           : sequence.n_tokens;
}

KvView KvCache::view(SequenceId id, size_t layer) const {
  const Impl::Sequence& sequence = impl_->at(id);
  const KvShape& shape = impl_->shape;
  return {sequence.tables[layer], shape.page_tokens, shape.n_kv_head, shape.d_head, shape.dtype,
          half_page_bytes(shape), sequence.n_tokens};
}

}  // namespace hunch
