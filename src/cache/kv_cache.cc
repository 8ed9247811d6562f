#include "cache/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/memory_info.h"
#include "cache/page_pool.h"
#include "kernels/ops.h"

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
  impl_->at(parent);
  const SequenceId id = create();
  const Impl::Sequence& from = impl_->at(parent);  // after create(), which may move the sequences
  Impl::Sequence& to = impl_->at(id);
  to.n_tokens = from.n_tokens;
  to.pages = from.pages;
  to.tables = from.tables;
  for (PageId page : to.pages) impl_->pool.ref(page);
  return id;
}

void KvCache::release(SequenceId id) {
  Impl::Sequence& sequence = impl_->at(id);
  impl_->keep_pages(sequence, 0);
  sequence.alive = false;
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
    const PageId shared = sequence.pages.back(), own = pool.take();
    for (size_t layer = 0; layer < impl_->shape.n_layer; ++layer)
      std::memcpy(pool.data(layer, own), pool.data(layer, shared), pool.page_bytes());
    impl_->set_page(sequence, n_old - 1, own);
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
}

void KvCache::store(SequenceId id, size_t layer, size_t first, MatView<const float> K, MatView<const float> V) {
  const KvShape& shape = impl_->shape;
  const Impl::Sequence& sequence = impl_->at(id);
  const size_t d_head = shape.d_head, head_bytes = row_bytes(shape.dtype, d_head);
  HUNCH_CHECK(layer < shape.n_layer && K.cols == shape.n_kv_head * d_head && V.cols == K.cols && V.rows == K.rows,
              "layer {}, K [{}, {}], V [{}, {}]", layer, K.rows, K.cols, V.rows, V.cols);
  HUNCH_CHECK(first + K.rows <= sequence.n_tokens, "store [{}, +{}) of {} tokens", first, K.rows, sequence.n_tokens);
  for (size_t t = 0; t < K.rows; ++t) {
    const size_t slot = (first + t) % shape.page_tokens;
    const PageId page = sequence.pages[(first + t) / shape.page_tokens];
    HUNCH_CHECK(!impl_->pool.is_shared(page), "token {} lies in a page that another sequence reads", first + t);
    std::byte* k = impl_->pool.data(layer, page) + slot * head_bytes;
    std::byte* v = k + half_page_bytes(shape);
    for (size_t head = 0; head < shape.n_kv_head; ++head) {
      const size_t offset = head * shape.page_tokens * head_bytes;
      const auto k_head = K.row(t).subspan(head * d_head, d_head), v_head = V.row(t).subspan(head * d_head, d_head);
      if (shape.dtype == DType::kF16) {
        to_f16(k_head, {reinterpret_cast<f16*>(k + offset), d_head});
        to_f16(v_head, {reinterpret_cast<f16*>(v + offset), d_head});
      } else {
        std::memcpy(k + offset, k_head.data(), head_bytes);
        std::memcpy(v + offset, v_head.data(), head_bytes);
      }
    }
  }
}

KvView KvCache::view(SequenceId id, size_t layer) const {
  const Impl::Sequence& sequence = impl_->at(id);
  const KvShape& shape = impl_->shape;
  return {sequence.tables[layer], shape.page_tokens,      shape.n_kv_head,   shape.d_head,
          shape.dtype,            half_page_bytes(shape), sequence.n_tokens};
}

}  // namespace hunch
