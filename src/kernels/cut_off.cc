#include "kernels/cut_off.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cut_off.cc"
#include <cmath>

#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void CutOff(float* x, size_t n, float deviations) {
  const hn::CappedTag<float, 16> d;
  const size_t N = hn::Lanes(d);
  auto sum = hn::Zero(d);
  size_t i = 0;
  for (; i + N <= n; i += N) sum = hn::Add(sum, hn::LoadU(d, x + i));
  double total = double(hn::GetLane(hn::SumOfLanes(d, sum)));
  for (; i < n; ++i) total += double(x[i]);
  const double mean = total / double(n);

  auto squares = hn::Zero(d);
  const auto center = hn::Set(d, float(mean));
  for (i = 0; i + N <= n; i += N) {
    const auto off = hn::Sub(hn::LoadU(d, x + i), center);
    squares = hn::MulAdd(off, off, squares);
  }
  double variance = double(hn::GetLane(hn::SumOfLanes(d, squares)));
  for (; i < n; ++i) variance += (double(x[i]) - mean) * (double(x[i]) - mean);
  const float cutoff = float(mean + double(deviations) * std::sqrt(variance / double(n)));

  const auto limit = hn::Set(d, cutoff);
  for (i = 0; i + N <= n; i += N) {  // not a maximum: a NaN stays one
    const auto v = hn::LoadU(d, x + i);
    hn::StoreU(hn::IfThenZeroElse(hn::Le(v, limit), hn::Sub(v, limit)), d, x + i);
  }
  for (; i < n; ++i) x[i] = x[i] <= cutoff ? 0.0f : x[i] - cutoff;
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(CutOff);

void cut_off(std::span<float> x, float deviations) {
  if (!x.empty()) HWY_DYNAMIC_DISPATCH(CutOff)(x.data(), x.size(), deviations);
}

namespace ref {

void cut_off(std::span<float> x, float deviations) {
  double mean = 0, variance = 0;
  for (const float v : x) mean += double(v) / double(x.size());
  for (const float v : x) variance += (double(v) - mean) * (double(v) - mean) / double(x.size());
  const double cutoff = mean + double(deviations) * std::sqrt(variance);
  for (float& v : x) v = double(v) <= cutoff ? 0.0f : float(double(v) - cutoff);
}

}  // namespace ref
}  // namespace hunch
#endif  // HWY_ONCE
