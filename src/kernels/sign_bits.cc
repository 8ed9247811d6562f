#include "kernels/sign_bits.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sign_bits.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void PackSigns(const float* x, size_t n, uint64_t* bits) {
  const hn::CappedTag<float, 64> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    uint64_t word = 0;
    for (size_t j = 0; j < 64; j += lanes) {
      uint8_t mask[8] = {};
      hn::StoreMaskBits(d, hn::Lt(hn::LoadU(d, x + i + j), hn::Zero(d)), mask);
      uint64_t part = 0;
      for (size_t b = 0; b < (lanes + 7) / 8; ++b) part |= uint64_t(mask[b]) << (8 * b);
      word |= part << j;
    }
    bits[i / 64] = word;
  }
  if (i < n) bits[i / 64] = 0;
  for (; i < n; ++i) bits[i / 64] |= uint64_t(x[i] < 0) << (i % 64);
}

void CountSignDifferences(const uint64_t* planes, const uint64_t* x, size_t n_words, size_t n_rows, float* counts) {
  const hn::CappedTag<uint64_t, 8> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t r = 0; r < n_rows; ++r) {
    const uint64_t* row = planes + r * n_words;
    auto sum = hn::Zero(d);
    for (size_t i = 0; i < n_words; i += lanes)
      sum = hn::Add(sum, hn::PopulationCount(hn::Xor(hn::LoadU(d, row + i), hn::LoadU(d, x + i))));
    uint64_t parts[8] = {};
    hn::StoreU(sum, d, parts);
    uint64_t total = 0;
    for (size_t i = 0; i < lanes; ++i) total += parts[i];
    counts[r] = float(total);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
#include <algorithm>
#include <bit>

#include "base/error.h"
namespace hunch {
HWY_EXPORT(PackSigns);
HWY_EXPORT(CountSignDifferences);

void pack_signs(std::span<const float> x, std::span<uint64_t> bits) {
  HUNCH_CHECK(bits.size() == sign_words(x.size()), "{} words for {} signs", bits.size(), x.size());
  HWY_DYNAMIC_DISPATCH(PackSigns)(x.data(), x.size(), bits.data());
  std::ranges::fill(bits.subspan((x.size() + 63) / 64), 0);
}

void count_sign_differences(const uint64_t* planes, std::span<const uint64_t> x, std::span<float> counts) {
  HUNCH_CHECK(x.size() % 8 == 0, "{} words, expected whole lines of 8", x.size());
  HWY_DYNAMIC_DISPATCH(CountSignDifferences)(planes, x.data(), x.size(), counts.size(), counts.data());
}

namespace ref {

void pack_signs(std::span<const float> x, std::span<uint64_t> bits) {
  std::ranges::fill(bits, 0);
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i] < 0) bits[i / 64] |= uint64_t{1} << (i % 64);
}

void count_sign_differences(const uint64_t* planes, std::span<const uint64_t> x, std::span<float> counts) {
  for (size_t r = 0; r < counts.size(); ++r) {
    int total = 0;
    for (size_t i = 0; i < x.size(); ++i) total += std::popcount(planes[r * x.size() + i] ^ x[i]);
    counts[r] = float(total);
  }
}

}  // namespace ref
}  // namespace hunch
#endif  // HWY_ONCE
