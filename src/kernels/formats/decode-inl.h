// Rows of any format as f32.
#if defined(HUNCH_KERNELS_FORMATS_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_DECODE_INL_H_
#undef HUNCH_KERNELS_FORMATS_DECODE_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_DECODE_INL_H_
#endif
#include <algorithm>

#include "hwy/highway.h"
#include "kernels/formats/all-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// to[i] for i in [0, n), n a multiple of the format's blocks. The bits are those of the format's own decode(), but for
// a rounding more or less where blocks have minima.
template <class F>
HWY_NOINLINE void DecodeRow(const std::byte* row, size_t n, float* to) {
  if constexpr (FloatFormat<F>) {
    const hn::ScalableTag<float> d;
    size_t i = 0;
    for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) hn::StoreU(Simd<F>::Load(d, row, i), d, to + i);
    for (; i < n; ++i) to[i] = Simd<F>::One(row, i);
  } else {
    const hn::CappedTag<float, 16> d;  // as many lanes as divide what shares a scale
    const hn::RebindToSigned<decltype(d)> di;
    const hn::Rebind<int8_t, decltype(d)> d8;
    Unpacked u;
    for (size_t i = 0; i < n; i += 256, row += 256 / Simd<F>::kBlockElems * Simd<F>::kBlockBytes) {
      const size_t m = std::min<size_t>(256, n - i);
      Simd<F>::Unpack(row, m, u);
      for (size_t j = 0; j < m; j += hn::Lanes(d)) {
        const auto q = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, u.q + j)));
        auto w = hn::Mul(hn::Set(d, u.scale[j / Simd<F>::kSub]), q);
        if constexpr (Simd<F>::kHasMin) w = hn::Sub(w, hn::Set(d, u.min[j / Simd<F>::kSub]));
        hn::StoreU(w, d, to + i + j);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
