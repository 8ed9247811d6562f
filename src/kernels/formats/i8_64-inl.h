// I8_64 in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_I8_64_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_I8_64_INL_H_
#undef HUNCH_KERNELS_FORMATS_I8_64_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_I8_64_INL_H_
#endif
#include <cstddef>

#include "formats/i8_64.h"
#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::I8_64> : FloatBlocks<format::I8_64> {
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const std::byte* row, size_t i) {
    const hn::RebindToSigned<D> di;
    const hn::Rebind<int8_t, D> d8;
    const std::byte* block = BlockOf(row, i);
    const auto* q = reinterpret_cast<const int8_t*>(block + offsetof(format::I8_64::Block, q));
    const auto codes = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, q + i % 64)));
    return hn::Mul(hn::Mul(codes, hn::Set(d, ScaleOf(block))), hn::Set(d, format::I8_64::kBy127));
  }
  static float One(const std::byte* row, size_t i) {
    const std::byte* block = BlockOf(row, i);
    const float product = float(int8_t(block[offsetof(format::I8_64::Block, q) + i % 64])) * ScaleOf(block);
    return product * format::I8_64::kBy127;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
