// Q8_0 in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_Q8_0_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_Q8_0_INL_H_
#undef HUNCH_KERNELS_FORMATS_Q8_0_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_Q8_0_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/q8_0.h"
#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/formats/vnni-inl.h"
#include "kernels/formats/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

template <>
struct Simd<format::Q8_0> : Blocks<format::Q8_0, 32> {
  static constexpr size_t kCodesAt = offsetof(format::Q8_0::Block, q);
  static constexpr size_t kAddTokens = 27;
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t n, Unpacked& out) {
    ScalesF16(blocks, kBlockBytes, n / 32, out.scale);
    for (size_t b = 0; b < n / 32; ++b) std::memcpy(out.q + b * 32, blocks + b * kBlockBytes + 2, 32);
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

struct alignas(64) PackedQ8_0 {  // 2 blocks
  static constexpr size_t kElems = 64;
  int8_t x[64];
  int32_t start[16];
  float scale[16];

  HWY_INLINE void Fill(const int8_t* q, const float* scale_of, const float*) {
    std::memcpy(x, q, 64);
    std::memset(start, 0, sizeof start);
    StartSums(x, 128, start);
    for (int i = 0; i < 16; ++i) scale[i] = scale_of[i / 8];
  }
};

template <>
struct Row<format::Q8_0> {
  using Packed = PackedQ8_0;
  static constexpr size_t kBytes = 2 * sizeof(format::Q8_0::Block);  // of the weights of one group
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i flip = _mm512_set1_epi8(-128);
    const __m512i codes =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 2))),
                           _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 36)), 1);
    const __m512i u = _mm512_xor_si512(codes, flip);
    // The f16 scales are words 0 and 17 of the group.
    const __m512i which =
        _mm512_castsi256_si512(_mm256_set_epi16(17, 17, 17, 17, 17, 17, 17, 17, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m512 scale = ScaleFromWords(Load512(w), which);
    for (int t = 0; t < T; ++t) {
      const __m512i dots = _mm512_dpbusd_epi32(Load512(x[t]->start), u, Load512(x[t]->x));
      acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_mul_ps(scale, _mm512_load_ps(x[t]->scale)), acc[t]);
    }
  }
  // One block, n bytes.
  template <int T>
  static HWY_INLINE void AccumulateRest(const std::byte* w, size_t n, const Packed* const* x, __m512* acc) {
    alignas(64) std::byte rest[128] = {};
    _mm512_store_si512(rest, _mm512_maskz_loadu_epi16((uint32_t{1} << n / 2) - 1, w));
    Accumulate<T>(rest, x, acc);
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

template <>
struct RowSum<format::Q8_0> {
  static constexpr int kRows = 8;
  template <int R, int T, class Ahead>
  static HWY_INLINE void Add(const std::byte* const* w, const float* a, size_t n, float* const* y,
                             const Ahead& prefetch) {
    Factors<R, T> f;
    BlockFactors<sizeof(format::Q8_0::Block)>(w, a, n / 32, f);
    AddBlocks(f, n, nullptr, y, prefetch, [&](int r, size_t b, __m512* value) HWY_ATTR {
      const auto* p = reinterpret_cast<const __m128i*>(w[r] + b * sizeof(format::Q8_0::Block) + 2);
      value[0] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
      value[1] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p + 1)));
    });
  }
};

}  // namespace wide
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_AVX512
#endif
