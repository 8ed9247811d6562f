// Paged storage for keys and values (Kwon et al. 2023, "PagedAttention"): fixed-size pages from one
// pool, a page table per sequence, copy-on-write when sequences share a prefix. Knows nothing of who
// selects tokens.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/attention.h"
#include "state/deferred_inputs.h"

namespace hunch {

struct KvShape {
  size_t n_layer = 0, n_kv_head = 0, d_head = 0;
  DType dtype = DType::kF32;  // kF32 or kF16
  size_t page_tokens = 32;
};

class KvCache {
 public:
  using SequenceId = uint32_t;

  // Room for `max_tokens` tokens over all sequences (rounded up to whole pages). Memory is reserved
  // now and touched page by page as it is used. Throws Error{kMemory}.
  KvCache(const KvShape& shape, size_t max_tokens);

  // Bytes that one token takes over all layers, and that a cache for max_tokens reserves.
  static size_t bytes_per_token(const KvShape& shape);
  size_t bytes() const;
  const KvShape& shape() const;

  SequenceId create();                 // an empty sequence
  SequenceId fork(SequenceId parent);  // shares all pages; written pages are copied first,
                                       // and at once those in which keys are missing
  void release(SequenceId sequence);   // its pages return to the pool
  size_t n_tokens(SequenceId sequence) const;
  size_t n_free_tokens() const;  // tokens that still fit if appended to one sequence at a page boundary

  // Makes room for n more tokens (all layers). Throws Error{kLimit} when the pool is exhausted; the
  // sequence is then unchanged.
  void append(SequenceId sequence, size_t n);
  // Forgets all tokens from `n_tokens` on (a rejected draft, `/reset`).
  void truncate(SequenceId sequence, size_t n_tokens);

  // Stores K and V of tokens [first, first + n) of one layer, converting to the cache's dtype.
  //   K, V  [n, n_kv_head * d_head], rows may be strided
  // May be called for disjoint ranges from several threads at once.
  void store(SequenceId sequence, size_t layer, size_t first, MatView<const float> K, MatView<const float> V);

  // The same for one KV head: K, V [n, d_head].
  void store_head(SequenceId sequence, size_t layer, size_t head, size_t first, MatView<const float> K,
                  MatView<const float> V);

  // Keys and values may be computed later than their token, head by head: keeps `x`, from which those of `token` will
  // be, for at most kMaxDeferred tokens that a head is behind. Until then store() and store_head() must continue where
  // the head's own keys end, and are called from one thread.
  static constexpr size_t kMaxDeferred = DeferredInputs::kCapacity;
  void defer(SequenceId sequence, size_t layer, size_t token, std::span<const float> x);
  std::span<const float> deferred_input(SequenceId sequence, size_t layer, size_t token) const;
  // Leading tokens whose keys and values the head has; of a layer where nothing was deferred: at least all that were
  // stored.
  size_t n_complete(SequenceId sequence, size_t layer, size_t head) const;

  // The layer as attention reads it; valid until the sequence is next changed.
  KvView view(SequenceId sequence, size_t layer) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hunch
