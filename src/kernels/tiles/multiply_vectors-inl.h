// The products of tiles/multiply-inl.h by the vector units: vdpbf16ps of AVX-512, on processors without tiles.
#if defined(HUNCH_KERNELS_TILES_MULTIPLY_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_TILES_MULTIPLY_VECTORS_INL_H_
#undef HUNCH_KERNELS_TILES_MULTIPLY_VECTORS_INL_H_
#else
#define HUNCH_KERNELS_TILES_MULTIPLY_VECTORS_INL_H_
#endif
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/tiles/multiply-inl.h"

#if HUNCH_TILES
HUNCH_BEFORE_TILES();
namespace hunch {
namespace HWY_NAMESPACE {
namespace tiles {

// Tokens whose sums with two strips are in registers: sixteen of them, enough for the latency of the products, and one
// load of x for two of these.
constexpr size_t kVectorTokens = 8;

// Sums of half a tile of tokens, from line `first` on, with the two strips of a panel.
HWY_INLINE void MultiplyHalfTile(const uint16_t* x, const Panel& panel, size_t n_steps, size_t first,
                                 const float* const (&from)[2], size_t from_bytes, float* const (&to)[2],
                                 size_t to_bytes) {
  constexpr size_t kLine = TileX::kColumns, kLines = kTileBytes / kLineBytes;
  const auto line = [&](auto* tile, size_t t, size_t bytes)
                        HUNCH_TILES_ATTR { return tile + (first + t) * bytes / sizeof(float); };
  __m512 sum0[kVectorTokens], sum1[kVectorTokens];
  HWY_UNROLL(kVectorTokens) for (size_t t = 0; t < kVectorTokens; ++t) {
    sum0[t] = _mm512_loadu_ps(line(from[0], t, from_bytes));
    sum1[t] = _mm512_loadu_ps(line(from[1], t, from_bytes));
  }
  x += first * kLine;
  for (size_t i = 0; i < n_steps; ++i, x += TileX::kStepValues) {
    const std::byte* w = panel.data + i * kTileBytes;
    for (size_t k = 0; k < kLines; ++k) {
      const auto w0 = (__m512bh)_mm512_load_si512(w + k * kLineBytes),
                 w1 = (__m512bh)_mm512_load_si512(w + panel.strip_bytes + k * kLineBytes);
      HWY_UNROLL(kVectorTokens) for (size_t t = 0; t < kVectorTokens; ++t) {
        int32_t pair;
        std::memcpy(&pair, x + t * kLine + 2 * k, sizeof pair);
        const auto both = (__m512bh)_mm512_set1_epi32(pair);
        sum0[t] = _mm512_dpbf16_ps(sum0[t], both, w0);
        sum1[t] = _mm512_dpbf16_ps(sum1[t], both, w1);
      }
    }
  }
  HWY_UNROLL(kVectorTokens) for (size_t t = 0; t < kVectorTokens; ++t) {
    _mm512_storeu_ps(line(to[0], t, to_bytes), sum0[t]);
    _mm512_storeu_ps(line(to[1], t, to_bytes), sum1[t]);
  }
}

// MultiplyPair() of upper parts; the panel stays in the first cache while x passes by.
template <bool kTwo>
HWY_INLINE void MultiplyPairInVectors(const uint16_t* x0, const uint16_t* x1, const Panel& panel, size_t n_steps,
                                      const SumsPlace& from, const SumsPlace& to) {
  for (size_t tile = 0; tile < (kTwo ? 2 : 1); ++tile) {
    const float* const sources[2] = {from.tile[2 * tile], from.tile[2 * tile + 1]};
    float* const targets[2] = {to.tile[2 * tile], to.tile[2 * tile + 1]};
    for (size_t first = 0; first < TileX::kTokens; first += kVectorTokens)
      MultiplyHalfTile(tile == 0 ? x0 : x1, panel, n_steps, first, sources, from.line_bytes, targets, to.line_bytes);
  }
}

}  // namespace tiles
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HUNCH_AFTER_TILES();
#endif  // HUNCH_TILES
#endif
