#include "kernels/shared_codes.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/shared_codes.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Adds what eight codes of every key share with one query each; a vector holds whole keys.
HWY_INLINE void AddShared(const uint8_t* codes, size_t n_keys, size_t stride, const uint8_t* queries, size_t n_queries,
                          uint16_t* counts) {
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<uint8_t> d;
  const hn::Repartition<uint64_t, decltype(d)> d64;
  const size_t n_together = hn::Lanes(d64);
  uint64_t sums[HWY_MAX_BYTES / sizeof(uint64_t)], own[HWY_MAX_BYTES / sizeof(uint64_t)];
  const auto load_keys = [&](const uint8_t* from) HWY_ATTR {
    if (stride == kCodeBytes) return hn::LoadU(d, from);
    for (size_t k = 0; k < n_together; ++k) std::memcpy(own + k, from + k * stride, kCodeBytes);
    return hn::BitCast(d, hn::LoadU(d64, own));
  };
  size_t j = 0;
  for (; j + n_together <= n_keys; j += n_together) {
    const auto keys = load_keys(codes + j * stride);
    auto shared = hn::Zero(d);
    for (size_t q = 0; q < n_queries; ++q) {
      uint64_t query;
      std::memcpy(&query, queries + q * stride, kCodeBytes);
      shared = hn::Sub(shared, hn::VecFromMask(d, hn::Eq(keys, hn::BitCast(d, hn::Set(d64, query)))));
    }
    hn::StoreU(hn::SumsOf8(shared), d64, sums);
    for (size_t k = 0; k < n_together; ++k) counts[j + k] = uint16_t(counts[j + k] + sums[k]);
  }
#else
  size_t j = 0;
#endif
  for (; j < n_keys; ++j)
    for (size_t q = 0; q < n_queries; ++q)
      for (size_t i = 0; i < kCodeBytes; ++i)
        counts[j] = uint16_t(counts[j] + (codes[j * stride + i] == queries[q * stride + i]));
}

void CountShared(const uint8_t* codes, size_t n_keys, size_t n_codes, const uint8_t* queries, size_t n_queries,
                 uint16_t* counts) {
  for (size_t i = 0; i < n_codes; i += kCodeBytes)
    AddShared(codes + i, n_keys, n_codes, queries + i, n_queries, counts);
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace hunch {
HWY_EXPORT(CountShared);

void count_shared_codes(std::span<const uint8_t> codes, std::span<const uint8_t> queries, size_t n_codes,
                        std::span<uint16_t> counts) {
  const size_t n_queries = queries.size() / n_codes;
  HUNCH_CHECK(n_codes % kCodeBytes == 0 && n_queries < 256 && codes.size() >= counts.size() * n_codes,
              "{} codes of {} keys and {} queries", n_codes, counts.size(), n_queries);
  std::ranges::fill(counts, uint16_t{0});
  if (counts.empty() || n_queries == 0) return;
  HWY_DYNAMIC_DISPATCH(CountShared)(codes.data(), counts.size(), n_codes, queries.data(), n_queries, counts.data());
}

}  // namespace hunch
#endif  // HWY_ONCE
