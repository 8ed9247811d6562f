// Vectors of f32 from plain weights of any type. Included inside the kernels, once per target.
#if defined(HUNCH_KERNELS_GEMV_LOAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_GEMV_LOAD_INL_H_
#undef HUNCH_KERNELS_GEMV_LOAD_INL_H_
#else
#define HUNCH_KERNELS_GEMV_LOAD_INL_H_
#endif
#include <cstring>

#include "base/half.h"
#include "hwy/highway.h"
#include "kernels/promote_f16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One type per plain dtype: Load reads Lanes(d) weights starting with weight i of the row.
struct PlainF32 {
  static constexpr size_t kBytes = 4;
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

struct PlainF16 {
  static constexpr size_t kBytes = 2;
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

struct PlainBF16 {
  static constexpr size_t kBytes = 2;
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const std::byte* row, size_t i) {
    const hn::Rebind<hwy::bfloat16_t, D> d16;
    return hn::PromoteTo(d, hn::LoadU(d16, reinterpret_cast<const hwy::bfloat16_t*>(row) + i));
  }
  static float One(const std::byte* row, size_t i) {
    bf16 h;
    std::memcpy(&h, row + i * 2, 2);
    return to_f32(h);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
