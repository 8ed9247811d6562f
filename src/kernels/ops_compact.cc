#include "kernels/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops_compact.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

size_t NonzeroIds(const float* x, size_t n, uint32_t first_id, uint32_t* ids) {
  const hn::ScalableTag<float> d;
  const hn::ScalableTag<uint32_t> du;
  const size_t lanes = hn::Lanes(d);
  size_t n_found = 0, i = 0;
  // Compress and a whole store rather than CompressStore, which is microcoded on Zen 4. The store stays
  // inside `ids`, because n_found <= i.
  for (; i + lanes <= n; i += lanes) {
    // Not Ne, for which NaN is no match on AVX.
    const auto keep = hn::RebindMask(du, hn::Not(hn::Eq(hn::LoadU(d, x + i), hn::Zero(d))));
    const auto candidates = hn::Iota(du, uint32_t(first_id + i));
    hn::StoreU(hn::Compress(candidates, keep), du, ids + n_found);
    n_found += hn::CountTrue(du, keep);
  }
  for (; i < n; ++i) {
    ids[n_found] = uint32_t(first_id + i);
    n_found += !(x[i] == 0);
  }
  return n_found;
}

size_t CountNonzero(const float* x, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t n_zeros = 0, i = 0;
  for (; i + lanes <= n; i += lanes) n_zeros += hn::CountTrue(d, hn::Eq(hn::LoadU(d, x + i), hn::Zero(d)));
  for (; i < n; ++i) n_zeros += x[i] == 0;
  return n - n_zeros;
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace hunch {
HWY_EXPORT(NonzeroIds);
HWY_EXPORT(CountNonzero);

size_t nonzero_ids(std::span<const float> x, uint32_t first_id, uint32_t* ids) {
  return HWY_DYNAMIC_DISPATCH(NonzeroIds)(x.data(), x.size(), first_id, ids);
}
size_t count_nonzero(std::span<const float> x) { return HWY_DYNAMIC_DISPATCH(CountNonzero)(x.data(), x.size()); }

}  // namespace hunch
#endif  // HWY_ONCE
