// NF4 and FP4 in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_FOUR_BIT_FLOATS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_FOUR_BIT_FLOATS_INL_H_
#undef HUNCH_KERNELS_FORMATS_FOUR_BIT_FLOATS_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_FOUR_BIT_FLOATS_INL_H_
#endif
#include <cstddef>

#include "formats/fp4.h"
#include "formats/nf4.h"
#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// table[codes[i]] for codes of 0 to 15: a look-up in as many registers as the table fills.
template <class D, class V>
HWY_INLINE hn::Vec<D> LookUp16(D d, const float* table, V codes) {
  constexpr size_t N = hn::MaxLanes(D());
  if constexpr (N == 1) {
    return hn::Set(d, table[hn::GetLane(codes)]);
  } else if constexpr (N >= 16) {
    return hn::TableLookupLanes(hn::LoadU(d, table), hn::IndicesFromVec(d, codes));
  } else {
    const hn::RebindToSigned<D> di;
    const auto within = hn::IndicesFromVec(d, hn::And(codes, hn::Set(di, int32_t(N - 1))));
    auto found = hn::TableLookupLanes(hn::LoadU(d, table), within);
    for (size_t part = 1; part < 16 / N; ++part) {
      const auto is_here = hn::RebindMask(d, hn::Gt(codes, hn::Set(di, int32_t(part * N - 1))));
      found = hn::IfThenElse(is_here, hn::TableLookupLanes(hn::LoadU(d, table + part * N), within), found);
    }
    return found;
  }
}

template <class F>
struct SimdOfFourBitFloats : FloatBlocks<F> {
  using Base = FloatBlocks<F>;
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const std::byte* row, size_t i) {
    const hn::RebindToSigned<D> di;
    const hn::Rebind<uint8_t, D> d8;
    const std::byte* block = Base::BlockOf(row, i);
    const auto* q = reinterpret_cast<const uint8_t*>(block + offsetof(typename F::Block, q));
    auto codes = hn::PromoteTo(di, hn::LoadU(d8, q + i % 32));
    if (i % 64 >= 32) codes = hn::ShiftRight<4>(codes);
    codes = hn::And(codes, hn::Set(di, 15));
    return hn::Mul(LookUp16(d, F::kValues.data(), codes), hn::Set(d, Base::ScaleOf(block)));
  }
  static float One(const std::byte* row, size_t i) {
    const std::byte* block = Base::BlockOf(row, i);
    const auto pair = uint8_t(block[offsetof(typename F::Block, q) + i % 32]);
    return F::kValues[i % 64 >= 32 ? pair >> 4 : pair & 15] * Base::ScaleOf(block);
  }
};

template <>
struct Simd<format::NF4> : SimdOfFourBitFloats<format::NF4> {};
template <>
struct Simd<format::FP4> : SimdOfFourBitFloats<format::FP4> {};

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
