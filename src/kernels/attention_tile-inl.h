// What both ways of attending share: keys and values page by page, and the shape of scores.
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

#include "base/half.h"
#include "hwy/highway.h"
#include "kernels/attention_block.h"
#include "kernels/promote_f16-inl.h"
#include "kernels/vec_math-inl.h"
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

// Calls body(tile) for the keys [begin, end), page by page; the next tile is on its way meanwhile.
template <class T, class Body>
HWY_INLINE void for_each_tile(const KvView& kv, size_t kv_head, size_t begin, size_t end, const Body& body) {
  while (begin < end) {
    const Tile<T> tile = tile_at<T>(kv, kv_head, begin, end);
    begin += tile.n_keys;
    if (begin < end) {
      const Tile<T> next = tile_at<T>(kv, kv_head, begin, end);
      prefetch(next.k, next.n_keys * kv.d_head);
      prefetch(next.v, next.n_keys * kv.d_head);
    }
    body(tile);
  }
}

HWY_INLINE VF load(DF d, const float* p) { return hn::LoadU(d, p); }
HWY_INLINE VF load(DF d, const f16* p) {
  const hn::Rebind<hwy::float16_t, DF> dh;
  return PromoteF16(d, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(p)));
}

// s = cap * tanh(s / cap), then s += slope * (key - pos), as far as wanted.
HWY_INLINE VF shape_score(DF d, VF s, float soft_cap, VF slope, VF distance) {
  if (soft_cap > 0) s = hn::Mul(hn::Set(d, soft_cap), tanh(d, hn::Mul(s, hn::Set(d, 1 / soft_cap))));
  return hn::MulAdd(slope, distance, s);
}

// `rows` as f32: itself, or n halves converted into `to`.
HWY_INLINE const float* as_f32(const float* rows, size_t, float*) { return rows; }
HWY_INLINE const float* as_f32(const f16* rows, size_t n, float* to) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(load(d, rows + i), d, to + i);
  for (; i < n; ++i) to[i] = to_f32(rows[i]);
  return to;
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
