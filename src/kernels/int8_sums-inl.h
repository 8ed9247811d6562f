// From sums of integers to what a product says: the one place, so that all ways to sum have the same bits.
#if defined(HUNCH_KERNELS_INT8_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_INT8_SUMS_INL_H_
#undef HUNCH_KERNELS_INT8_SUMS_INL_H_
#else
#define HUNCH_KERNELS_INT8_SUMS_INL_H_
#endif
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/int8_strips.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sixteen rows of a token, those that there are.
HWY_INLINE void WriteSums(const Int8Tokens& x, const Int8Task& task, size_t strip, size_t token, const int32_t* sums) {
  const hn::CappedTag<float, 16> d;
  const hn::RebindToSigned<decltype(d)> d32;
  const size_t row = strip * kInt8StripRows, n = std::min(kInt8StripRows, task.Y.cols - row), N = hn::Lanes(d);
  HWY_ALIGN float part[kInt8StripRows];
  float* const y = task.Y.data + token * task.Y.row_stride + row;
  float* const to = n == kInt8StripRows ? y : part;
  const auto of_token = hn::Set(d, x.scale[token]);
  for (size_t i = 0; i < kInt8StripRows; i += N) {
    const auto scale = hn::Mul(hn::LoadU(d, task.scale + row + i), of_token);
    const auto bias = task.bias ? hn::LoadU(d, task.bias + row + i) : hn::Zero(d);
    hn::StoreU(hn::MulAdd(hn::ConvertTo(d, hn::LoadU(d32, sums + i)), scale, bias), d, to + i);
  }
  if (to == part) std::copy_n(part, n, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
