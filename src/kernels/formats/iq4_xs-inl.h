// IQ4_XS in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_IQ4_XS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_IQ4_XS_INL_H_
#undef HUNCH_KERNELS_FORMATS_IQ4_XS_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_IQ4_XS_INL_H_
#endif
#include <cstddef>
#include <cstring>

#include "formats/iq4_xs.h"
#include "hwy/highway.h"
#include "kernels/formats/code_book-inl.h"
#include "kernels/formats/pairs-inl.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/formats/vnni-inl.h"
#include "kernels/formats/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::IQ4_XS> : Blocks<format::IQ4_XS, 32> {
  // scale[0 .. 8) of a block.
  static HWY_INLINE void Scales(const std::byte* block, float* scale) {
    format::IQ4_XS::Block head;
    std::memcpy(&head, block, offsetof(format::IQ4_XS::Block, q));
    const float d = to_f32(head.d);
    for (int j = 0; j < 8; ++j) scale[j] = d * float(format::IQ4_XS::scale(head, j));
  }
  static HWY_INLINE void Unpack(const std::byte* blocks, size_t, Unpacked& out) {
    Scales(blocks, out.scale);
    for (size_t j = 0; j < 8; ++j)
      LookUpPairs<format::IQ4_XS::Book>(blocks + offsetof(format::IQ4_XS::Block, q) + 16 * j, out.q + 32 * j);
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

struct PackedIQ4_XS {  // 1 block
  static constexpr size_t kElems = 256;
  PackedPairs<128> half[2];
  HWY_INLINE void Fill(const int8_t* q, const float* scale_of, const float* sum) {
    for (int i = 0; i < 2; ++i) half[i].Fill(q + 128 * i, scale_of + 4 * i, sum);
  }
};

template <>
struct Row<format::IQ4_XS> {
  using Packed = PackedIQ4_XS;
  static constexpr size_t kStride = sizeof(format::IQ4_XS::Block), kBytes = 1 * kStride;
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    alignas(32) float scale[8];
    Simd<format::IQ4_XS>::Scales(w, scale);
    const __m512 scales = _mm512_castps256_ps512(_mm256_load_ps(scale));
    const __m512i first = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    for (int i = 0; i < 2; ++i) {
      __m512i low, high;
      LookUpHalves<format::IQ4_XS::Book>(Load512(w + offsetof(format::IQ4_XS::Block, q) + 64 * i), 128, &low, &high);
      const __m512i which = _mm512_add_epi32(first, _mm512_set1_epi32(4 * i));
      AddPairs<T>(
          low, high, _mm512_permutexvar_ps(which, scales),
          [&](int t) -> const PackedPairs<128>& { return x[t]->half[i]; }, acc);
    }
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
struct RowSum<format::IQ4_XS> {
  static constexpr int kRows = 8;
  template <int R, int T, class Ahead>
  static HWY_INLINE void Add(const std::byte* const* w, const float* a, size_t n, float* const* y,
                             const Ahead& prefetch) {
    using Block = format::IQ4_XS::Block;
    const __m512 table = FloatsOf<format::IQ4_XS::Book>();
    Factors<R, T> f;
    HWY_UNROLL(8) for (int r = 0; r < R; ++r) {
      alignas(32) float scale[8];
      Simd<format::IQ4_XS>::Scales(w[r], scale);
      for (int t = 0; t < T; ++t)
        _mm256_store_ps(f.of[r][t], _mm256_mul_ps(_mm256_load_ps(scale), _mm256_set1_ps(a[r * T + t])));
    }
    AddBlocks(f, n, nullptr, y, prefetch, [&](int r, size_t b, __m512* value) HWY_ATTR {
      NibblePairs(w[r] + offsetof(Block, q) + 16 * b, table, value);
    });
  }
};

}  // namespace wide
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_AVX512
#endif
