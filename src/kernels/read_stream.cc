#include "kernels/read_stream.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/read_stream.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <cstring>

#include "base/error.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <size_t kStreams, size_t kAheadBytes>
uint32_t ReadFrom(const std::byte* bytes, size_t n_bytes) {
  const hn::ScalableTag<uint32_t> d;
  const size_t lanes = hn::Lanes(d);
  constexpr size_t kLine = 64, kPerStream = kStreams == 1 ? 4 : 1;  // lines read of a stream in a row
  const size_t part = n_bytes / kStreams / (kPerStream * kLine) * (kPerStream * kLine);
  auto sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (size_t at = 0; at < part; at += kPerStream * kLine)
    for (size_t s = 0; s < kStreams; s += 4) {
      const auto* p0 = reinterpret_cast<const uint32_t*>(bytes + s * part + at);
      const size_t step = (kStreams == 1 ? kLine : part) / 4;
      const auto *p1 = p0 + step, *p2 = p1 + step, *p3 = p2 + step;
      if (kAheadBytes > 0)
        for (const auto* p : {p0, p1, p2, p3}) hwy::Prefetch(p + kAheadBytes / 4);
      for (size_t i = 0; i < kLine / 4; i += lanes) {
        sum0 = hn::Add(sum0, hn::LoadU(d, p0 + i));
        sum1 = hn::Add(sum1, hn::LoadU(d, p1 + i));
        sum2 = hn::Add(sum2, hn::LoadU(d, p2 + i));
        sum3 = hn::Add(sum3, hn::LoadU(d, p3 + i));
      }
    }
  // Not SumOfLanes, which on AVX-512 adds signed and may overflow.
  HWY_ALIGN uint32_t lane[HWY_MAX_BYTES / 4];
  hn::Store(hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3)), d, lane);
  uint32_t sum = 0;
  for (size_t i = 0; i < lanes; ++i) sum += lane[i];
  for (size_t i = kStreams * part; i < n_bytes; i += 4) {
    uint32_t word;
    std::memcpy(&word, bytes + i, 4);
    sum += word;
  }
  return sum;
}

uint32_t ReadStream(const std::byte* bytes, size_t n_bytes, ReadWay way) {
  switch (way) {
    case ReadWay::kOne: return ReadFrom<1, 0>(bytes, n_bytes);
    case ReadWay::kFour: return ReadFrom<4, 0>(bytes, n_bytes);
    case ReadWay::kEightAhead: return ReadFrom<8, 1024>(bytes, n_bytes);
  }
  return 0;
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(ReadStream);

uint32_t read_stream(std::span<const std::byte> bytes, ReadWay way) {
  HUNCH_CHECK(bytes.size() % 4 == 0 && reinterpret_cast<uintptr_t>(bytes.data()) % 4 == 0,
              "{} bytes: expected whole, aligned words", bytes.size());
  return HWY_DYNAMIC_DISPATCH(ReadStream)(bytes.data(), bytes.size(), way);
}

namespace ref {
uint32_t read_stream(std::span<const std::byte> bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); i += 4) {
    uint32_t word;
    std::memcpy(&word, bytes.data() + i, 4);
    sum += word;
  }
  return sum;
}
}  // namespace ref
}  // namespace hunch
#endif  // HWY_ONCE
