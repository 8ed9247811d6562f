// F32 in the kernels.
#if defined(HUNCH_KERNELS_FORMATS_F32_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_FORMATS_F32_INL_H_
#undef HUNCH_KERNELS_FORMATS_F32_INL_H_
#else
#define HUNCH_KERNELS_FORMATS_F32_INL_H_
#endif
#include <cstring>

#include "formats/f32.h"
#include "hwy/highway.h"
#include "kernels/formats/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <>
struct Simd<format::F32> : Elements<4> {
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const std::byte* row, size_t i) {
    return hn::LoadU(d, reinterpret_cast<const float*>(row) + i);
  }
  static float One(const std::byte* row, size_t i) {
    float f;
    std::memcpy(&f, row + i * 4, 4);
    return f;
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
