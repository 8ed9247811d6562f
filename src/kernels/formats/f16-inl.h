// F16 in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_F16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_F16_INL_H_
#undef HUNCH_KERNELS_FORMATS_F16_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_F16_INL_H_
#endif
#include <cstring>

#include "base/half.h"
#include "formats/f16.h"
#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"
#include "kernels/promote_f16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::F16> : Elements<2> {
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const std::byte* row, size_t i) {
    const hn::Rebind<hwy::float16_t, D> d16;
    return PromoteF16(d, hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(row) + i));
  }
  static float One(const std::byte* row, size_t i) {
    f16 h;
    std::memcpy(&h, row + i * 2, 2);
    return to_f32(h);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
