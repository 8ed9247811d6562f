#include "kernels/ternary.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ternary.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_int8-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Of values 0 to 255 in lanes wider than a byte: the weights of plane J.
template <int J, class D, class V>
HWY_INLINE V Plane(D d, V bytes) {
  V codes = bytes;
  if constexpr (J > 0) codes = hn::ShiftRight<2 * J>(bytes);
  return hn::Sub(hn::And(codes, hn::Set(d, 3)), hn::Set(d, 1));
}

float RoundToInt8(const float* x, size_t n, int8_t* q, size_t n_padded) {
  const hn::CappedTag<float, 16> d;
  const hn::Rebind<int8_t, decltype(d)> d8;
  const size_t N = hn::Lanes(d);
  auto max = hn::Set(d, 1e-5f);
  size_t i = 0;
  for (; i + N <= n; i += N) max = hn::Max(max, hn::Abs(hn::LoadU(d, x + i)));
  float absmax = hn::GetLane(hn::MaxOfLanes(d, max));
  for (; i < n; ++i) {
    const float v = x[i] < 0 ? -x[i] : x[i];
    if (v > absmax) absmax = v;
  }
  const auto inverse = hn::Set(d, 127 / absmax);
  for (i = 0; i + N <= n; i += N)
    hn::StoreU(hn::DemoteTo(d8, hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), inverse))), d8, q + i);
  const hn::CappedTag<float, 1> d1;
  for (; i < n; ++i) q[i] = int8_t(hn::GetLane(hn::NearestInt(hn::Set(d1, x[i] * (127 / absmax)))));
  for (; i < n_padded; ++i) q[i] = 0;
  return absmax / 127;
}

int32_t DotInt8(const uint8_t* row, const int8_t* x, size_t n) {
#if HUNCH_INT8_SIMD
  const hn::CappedTag<int8_t, 64> d8;
  const hn::RebindToUnsigned<decltype(d8)> du8;
  const hn::Repartition<uint16_t, decltype(d8)> d16;
  const hn::Repartition<int32_t, decltype(d8)> d32;
  const size_t N = hn::Lanes(d8);
  const auto mask = hn::Set(du8, 3);
  const auto one = hn::Set(d8, 1);
  auto sum = hn::Zero(d32);
  for (size_t g = 0; g < n; g += kTernaryGroup, row += 64, x += kTernaryGroup)
    for (size_t m = 0; m < 64; m += N) {
      const auto bytes = hn::LoadU(du8, row + m);
      const auto pairs = hn::BitCast(d16, bytes);  // what a shift takes from the neighbour is masked off
      const auto add = [&](auto codes, size_t j) HWY_ATTR {
        const auto w = hn::Sub(hn::BitCast(d8, hn::And(codes, mask)), one);
        sum = DotSigned(sum, w, hn::LoadU(d8, x + 64 * j + m));
      };
      add(bytes, 0);
      add(hn::BitCast(du8, hn::ShiftRight<2>(pairs)), 1);
      add(hn::BitCast(du8, hn::ShiftRight<4>(pairs)), 2);
      add(hn::BitCast(du8, hn::ShiftRight<6>(pairs)), 3);
    }
  return hn::GetLane(hn::SumOfLanes(d32, sum));
#else
  int32_t sum = 0;
  for (size_t g = 0; g < n; g += kTernaryGroup, row += 64, x += kTernaryGroup)
    for (size_t m = 0; m < 64; ++m)
      for (size_t j = 0; j < 4; ++j) sum += ((row[m] >> (2 * j) & 3) - 1) * x[64 * j + m];
  return sum;
#endif
}

float DotFloat(const uint8_t* row, const float* x, size_t n) {
  const hn::CappedTag<float, 16> d;
  const hn::Rebind<int32_t, decltype(d)> d32;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const size_t N = hn::Lanes(d);
  auto sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (size_t g = 0; g < n; g += kTernaryGroup, row += 64, x += kTernaryGroup)
    for (size_t m = 0; m < 64; m += N) {
      const auto bytes = hn::PromoteTo(d32, hn::LoadU(d8, row + m));
      sum0 = hn::MulAdd(hn::ConvertTo(d, Plane<0>(d32, bytes)), hn::LoadU(d, x + m), sum0);
      sum1 = hn::MulAdd(hn::ConvertTo(d, Plane<1>(d32, bytes)), hn::LoadU(d, x + 64 + m), sum1);
      sum2 = hn::MulAdd(hn::ConvertTo(d, Plane<2>(d32, bytes)), hn::LoadU(d, x + 128 + m), sum2);
      sum3 = hn::MulAdd(hn::ConvertTo(d, Plane<3>(d32, bytes)), hn::LoadU(d, x + 192 + m), sum3);
    }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
}

// y[256] += a * the group; its lanes hold |y| < 2^15 for 256 rows.
void AddGroup(const uint8_t* group, int8_t a, int16_t* y) {
  const hn::CappedTag<int16_t, 32> d;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const auto factor = hn::Set(d, int16_t{a});
  for (size_t m = 0; m < 64; m += hn::Lanes(d)) {
    const auto bytes = hn::PromoteTo(d, hn::LoadU(d8, group + m));
    const auto add = [&](auto w, int16_t* to)
                         HWY_ATTR { hn::StoreU(hn::Add(hn::LoadU(d, to), hn::Mul(w, factor)), d, to); };
    add(Plane<0>(d, bytes), y + m);
    add(Plane<1>(d, bytes), y + 64 + m);
    add(Plane<2>(d, bytes), y + 128 + m);
    add(Plane<3>(d, bytes), y + 192 + m);
  }
}

void AddGroup(const uint8_t* group, float a, float* y) {
  const hn::CappedTag<float, 16> d;
  const hn::Rebind<int32_t, decltype(d)> d32;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const auto factor = hn::Set(d, a);
  for (size_t m = 0; m < 64; m += hn::Lanes(d)) {
    const auto bytes = hn::PromoteTo(d32, hn::LoadU(d8, group + m));
    const auto add = [&](auto w, float* to)
                         HWY_ATTR { hn::StoreU(hn::MulAdd(hn::ConvertTo(d, w), factor, hn::LoadU(d, to)), d, to); };
    add(Plane<0>(d32, bytes), y + m);
    add(Plane<1>(d32, bytes), y + 64 + m);
    add(Plane<2>(d32, bytes), y + 128 + m);
    add(Plane<3>(d32, bytes), y + 192 + m);
  }
}

void SumInt8(const uint8_t* rows, size_t stride, const uint32_t* ids, size_t n_ids, const int8_t* a, int32_t* y,
             size_t n) {
  constexpr size_t kMost = 256;  // of int8 whose sum fits 16 bits
  for (size_t g = 0; g < n; g += kTernaryGroup, rows += 64, y += kTernaryGroup) {
    for (size_t r = 0; r < kTernaryGroup; ++r) y[r] = 0;
    for (size_t first = 0; first < n_ids; first += kMost) {
      HWY_ALIGN int16_t part[kTernaryGroup] = {};
      for (size_t i = first; i < n_ids && i < first + kMost; ++i) AddGroup(rows + ids[i] * stride, a[ids[i]], part);
      for (size_t r = 0; r < kTernaryGroup; ++r) y[r] += part[r];
    }
  }
}

void SumFloat(const uint8_t* rows, size_t stride, const uint32_t* ids, size_t n_ids, const float* a, float* y,
              size_t n) {
  for (size_t g = 0; g < n; g += kTernaryGroup, rows += 64, y += kTernaryGroup) {
    for (size_t r = 0; r < kTernaryGroup; ++r) y[r] = 0;
    for (size_t i = 0; i < n_ids; ++i) AddGroup(rows + ids[i] * stride, a[ids[i]], y);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "base/error.h"

namespace hunch {
HWY_EXPORT(RoundToInt8);
HWY_EXPORT(DotInt8);
HWY_EXPORT(DotFloat);
HWY_EXPORT(SumInt8);
HWY_EXPORT(SumFloat);

namespace {
const uint8_t* bytes_of(const std::byte* p) { return reinterpret_cast<const uint8_t*>(p); }
}  // namespace

float round_to_int8(std::span<const float> x, std::span<int8_t> q) {
  HUNCH_CHECK(q.size() >= x.size(), "{} for {} values", q.size(), x.size());
  return HWY_DYNAMIC_DISPATCH(RoundToInt8)(x.data(), x.size(), q.data(), q.size());
}

int32_t ternary_dot(const std::byte* row, std::span<const int8_t> x) {
  return HWY_DYNAMIC_DISPATCH(DotInt8)(bytes_of(row), x.data(), x.size());
}

float ternary_dot(const std::byte* row, std::span<const float> x) {
  return HWY_DYNAMIC_DISPATCH(DotFloat)(bytes_of(row), x.data(), x.size());
}

void ternary_sum(const std::byte* rows, size_t stride, std::span<const uint32_t> ids, std::span<const int8_t> a,
                 std::span<int32_t> y) {
  HWY_DYNAMIC_DISPATCH(SumInt8)(bytes_of(rows), stride, ids.data(), ids.size(), a.data(), y.data(), y.size());
}

void ternary_sum(const std::byte* rows, size_t stride, std::span<const uint32_t> ids, std::span<const float> a,
                 std::span<float> y) {
  HWY_DYNAMIC_DISPATCH(SumFloat)(bytes_of(rows), stride, ids.data(), ids.size(), a.data(), y.data(), y.size());
}

}  // namespace hunch
#endif  // HWY_ONCE
