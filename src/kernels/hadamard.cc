#include "kernels/hadamard.h"

#include <cmath>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/hadamard.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Pairs that are `step` apart become their sum and difference, each times `factor`.
void ButterflyRow(float* row, size_t n, size_t step, float factor) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto scale = hn::Set(d, factor);
  for (size_t first = 0; first < n; first += 2 * step) {
    float *const a = row + first, *const b = a + step;
    size_t i = 0;
    for (; i + lanes <= step; i += lanes) {
      const auto x = hn::LoadU(d, a + i), y = hn::LoadU(d, b + i);
      hn::StoreU(hn::Mul(hn::Add(x, y), scale), d, a + i);
      hn::StoreU(hn::Mul(hn::Sub(x, y), scale), d, b + i);
    }
    for (; i < step; ++i) {
      const float x = a[i], y = b[i];
      a[i] = (x + y) * factor;
      b[i] = (x - y) * factor;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace hunch {
HWY_EXPORT(ButterflyRow);

void hadamard(std::span<float> row, size_t block) {
  HUNCH_CHECK(block > 0 && (block & (block - 1)) == 0 && row.size() % block == 0, "{} values in pieces of {}",
              row.size(), block);
  const float root = float(1 / std::sqrt(double(block)));
  for (size_t step = 1; step < block; step *= 2)  // the last one scales
    HWY_DYNAMIC_DISPATCH(ButterflyRow)(row.data(), row.size(), step, 2 * step == block ? root : 1.0f);
}

}  // namespace hunch
#endif  // HWY_ONCE
