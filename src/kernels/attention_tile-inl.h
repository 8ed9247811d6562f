// What both ways of attending share: keys and values page by page or slot by slot, and the shape of scores.
// For inclusion by attention_block.cc, once per SIMD target.
// clang-format off
#if defined(HUNCH_KERNELS_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_ATTENTION_TILE_INL_H_
#undef HUNCH_KERNELS_ATTENTION_TILE_INL_H_
#else
#define HUNCH_KERNELS_ATTENTION_TILE_INL_H_
#endif
// clang-format on
#include <algorithm>
#include <limits>

#include "hwy/highway.h"
#include "kernels/attention_decode-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr size_t kTileKeys = 64;  // most keys whose scores are held at once

// A run of keys within one page: their K and V rows, d_head elements apart.
template <class T>
struct Tile {
  const T *k, *v;
  size_t begin, n_keys;
};

// The tile that starts at key `begin`: up to the end of its page, of the range, or of the room for scores.
template <class T>
HWY_INLINE Tile<T> tile_at(const KvView& kv, size_t kv_head, size_t begin, size_t end) {
  const size_t slot = begin % kv.page_tokens;
  const size_t n_keys = std::min({end - begin, kv.page_tokens - slot, kTileKeys});
  const std::byte* k = kv.pages[begin / kv.page_tokens] + (kv_head * kv.page_tokens + slot) * kv.d_head * sizeof(T);
  return {reinterpret_cast<const T*>(k), reinterpret_cast<const T*>(k + kv.v_offset_bytes), begin, n_keys};
}

// Pages lie anywhere, so that the hardware does not see the next one coming.
template <class T>
HWY_INLINE void prefetch(const T* rows, size_t n) {
  for (size_t i = 0; i < n; i += 64 / sizeof(T)) __builtin_prefetch(rows + i, 0, 2);
}

// Lines of memory that will be wanted, asked for a few at a time: all at once, they would wait for each other and the
// arithmetic for them.
struct Lines {
  const std::byte* at = nullptr;
  size_t n = 0;

  template <class T>
  static HWY_INLINE Lines of(const T* rows, size_t n_values) {
    return {reinterpret_cast<const std::byte*>(rows), (n_values * sizeof(T) + 63) / 64};
  }
  HWY_INLINE void ask(size_t most) {
    for (size_t i = std::min(most, n); i > 0; --i, --n, at += 64) __builtin_prefetch(at, 0, 2);
  }
};
// The keys and values of the tile after this one.
struct NextTile {
  Lines k, v;
};

// Calls body(tile, next) for the keys [begin, end), page by page; the body asks for the next tile's lines.
template <class T, class Body>
HWY_INLINE void for_each_tile(const KvView& kv, size_t kv_head, size_t begin, size_t end, const Body& body) {
  while (begin < end) {
    const Tile<T> tile = tile_at<T>(kv, kv_head, begin, end);
    begin += tile.n_keys;
    NextTile next;
    if (begin < end) {
      const Tile<T> after = tile_at<T>(kv, kv_head, begin, end);
      const size_t n = after.n_keys * kv.d_head;
      next = {Lines::of(after.k, n), Lines::of(after.v, n)};
    }
    body(tile, next);
  }
}

// s = cap * tanh(s / cap), then s += slope * (key - pos), as far as wanted.
HWY_INLINE VF shape_score(DF d, VF s, float soft_cap, VF slope, VF distance) {
  if (soft_cap > 0) s = hn::Mul(hn::Set(d, soft_cap), tanh(d, hn::Mul(s, hn::Set(d, 1 / soft_cap))));
  return hn::MulAdd(slope, distance, s);
}

// Keys taken one by one: their rows decoded, d_head elements apart.
struct ListedTile {
  const float *k, *v;        // v: if it was asked for
  const int32_t* positions;  // [kTileKeys], the first n_keys mean something
  const uint32_t* slots;     // [n_keys]
  size_t n_keys;
};

// The slots of the next tile of a list, and where in the list the tile after it begins.
struct SlotBatch {
  uint32_t slots[kTileKeys];
  int32_t positions[kTileKeys] = {};
  size_t n = 0, next = 0;
};

// The next keys from `begin` on that some row sees. The others are not read: they may not have been stored yet.
HWY_INLINE void take_slots(const AttentionBlock& block, size_t begin, size_t bytes, bool with_values,
                           SlotBatch& batch) {
  const size_t lowest = block.first_key(0), highest = block.last_key(block.n_rows - 1);
  batch.n = 0;
  for (; begin < block.key_end && batch.n < kTileKeys; ++begin) {
    const size_t slot = block.slots ? block.slots[begin] : begin;
    const size_t position = block.positions ? block.positions[slot] : slot;
    if (position < lowest || position > highest) continue;
    const std::byte* const row = key_row(block, slot, bytes);
    batch.slots[batch.n] = uint32_t(slot);
    batch.positions[batch.n++] = int32_t(position);
    prefetch(row, bytes);
    if (with_values) prefetch(row + block.span->kv.v_offset_bytes, bytes);
  }
  batch.next = begin;
}

// Calls body(tile) for those of the block's listed keys that some row sees, decoded to k32 and, unless that is null,
// v32; the next tile is on its way meanwhile.
template <class Body>
HWY_INLINE void for_each_listed_tile(const AttentionBlock& block, float* k32, float* v32, const Body& body) {
  const size_t d_head = block.span->kv.d_head, bytes = slot_bytes(block.span->kv);
  SlotBatch batches[2];
  take_slots(block, block.key_begin, bytes, v32, batches[0]);
  for (size_t b = 0; batches[b].n > 0; b = 1 - b) {
    const SlotBatch& batch = batches[b];
    take_slots(block, batch.next, bytes, v32, batches[1 - b]);
    for (size_t j = 0; j < batch.n; ++j) {
      decode_key(block, batch.slots[j], k32 + j * d_head);
      if (v32) decode_value(block, batch.slots[j], v32 + j * d_head);
    }
    body(ListedTile{k32, v32, batch.positions, batch.slots, batch.n});
  }
}

// 1 / sum: no key, no weight.
HWY_INLINE float inverse_or_0(float sum) { return sum == 0 ? 0.0f : 1.0f / sum; }

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
