// Q4_K in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_Q4_K_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_Q4_K_INL_H_
#undef HUNCH_KERNELS_FORMATS_Q4_K_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_Q4_K_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/q4_k.h"
#include "hwy/highway.h"
#include "kernels/formats/k_scales-inl.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/formats/vnni-inl.h"
#include "kernels/formats/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::Q4_K> : Blocks<format::Q4_K, 32> {
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t, Unpacked& out) {
    ScalesK(blocks, out);
    const auto* pairs = reinterpret_cast<const uint8_t*>(blocks + offsetof(format::Q4_K::Block, q));
    for (size_t j = 0; j < 4; ++j)
      for (size_t l = 0; l < 32; l += hn::Lanes(Bytes())) {
        const ByteVec v = hn::LoadU(Bytes(), pairs + j * 32 + l);
        StoreBytes(Low4(v), out.q + j * 64 + l);
        StoreBytes(High4(v), out.q + j * 64 + 32 + l);
      }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HUNCH_AVX512
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
namespace hunch {
namespace HWY_NAMESPACE {
namespace vnni {

template <>
struct Row<format::Q4_K> {
  using Packed = PackedK;
  static constexpr size_t kBytes = sizeof(format::Q4_K::Block);  // of the weights of one group
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i v0 = Load512(w + 16), v1 = Load512(w + 80);
    const __m512i u[4] = {_mm512_and_si512(v0, nibble), _mm512_and_si512(_mm512_srli_epi16(v0, 4), nibble),
                          _mm512_and_si512(v1, nibble), _mm512_and_si512(_mm512_srli_epi16(v1, 4), nibble)};
    AccumulateK<T>(u, ScalesK(w), x, acc);
  }
};

}  // namespace vnni
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace wide {

// Each 32 bytes hold sub-block 2j in their low and 2j + 1 in their high nibbles; w = scale q - min.
// The minima of four rows are subtracted together: with eight, a token's bits would depend on its companions.
template <>
struct RowSum<format::Q4_K> {
  static constexpr int kRows = 4;
  template <int R, int T, class Ahead>
  static HWY_INLINE void Add(const std::byte* const* w, const float* a, size_t, float* const* y,
                             const Ahead& prefetch) {
    const __m512 table = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    Factors<R, T> f;
    alignas(64) float minima[T][8];
    for (int t = 0; t < T; ++t) std::memset(minima[t], 0, sizeof minima[t]);
    HWY_UNROLL(8) for (int r = 0; r < R; ++r) {
      const __m512 both = ScalesK(w[r]);  // 8 scales, 8 minima
      const __m256 scale = _mm512_castps512_ps256(both);
      const __m256 min = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(both), 1));
      for (int t = 0; t < T; ++t) {
        const __m256 factor = _mm256_set1_ps(a[r * T + t]);
        _mm256_store_ps(f.of[r][t], _mm256_mul_ps(scale, factor));
        _mm256_store_ps(minima[t], _mm256_fmadd_ps(min, factor, _mm256_load_ps(minima[t])));
      }
    }
    for (size_t b = 0; b < 8; b += 2) {
      const auto pairs = [&](int r) HWY_ATTR { return w[r] + offsetof(format::Q4_K::Block, q) + b / 2 * 32; };
      prefetch(b);
      AddBlock(f, b, minima, y, [&](int r, __m512* value) HWY_ATTR {
        value[0] = Nibbles(LoadPairs(pairs(r)), table);
        value[1] = Nibbles(LoadPairs(pairs(r) + 16), table);
      });
      prefetch(b + 1);
      AddBlock(f, b + 1, minima, y, [&](int r, __m512* value) HWY_ATTR {
        value[0] = Nibbles(_mm512_srli_epi32(LoadPairs(pairs(r)), 4), table);
        value[1] = Nibbles(_mm512_srli_epi32(LoadPairs(pairs(r) + 16), 4), table);
      });
    }
  }
};

}  // namespace wide
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_AVX512
#endif
