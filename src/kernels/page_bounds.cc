#include "kernels/page_bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/page_bounds.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/attention_narrow-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

constexpr size_t kTilePages = 16;  // summaries that stay in the first cache while all queries take them

HWY_INLINE void no_nan(std::span<float> bounds) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const VF highest = hn::Inf(d);
  size_t p = 0;
  for (; p + lanes <= bounds.size(); p += lanes) {
    const VF b = hn::LoadU(d, bounds.data() + p);
    hn::StoreU(hn::IfThenElse(hn::IsNaN(b), highest, b), d, bounds.data() + p);
  }
  for (; p < bounds.size(); ++p)
    if (std::isnan(bounds[p])) bounds[p] = std::numeric_limits<float>::infinity();
}

// The bound is one product of a row twice as wide: the positive part of q with the largest values, the negative part
// with the smallest. Laid out as dot_keys() takes its queries.
HWY_INLINE void split_query(std::span<const float> q, size_t padded, float* to) {
  const size_t lanes = hn::Lanes(DF()), width = 2 * q.size();
  const size_t n_whole = width / lanes * lanes, n_tail = width - n_whole;
  const auto part = [&](size_t i) { return i < q.size() ? std::max(q[i], 0.0f) : std::min(q[i - q.size()], 0.0f); };
  std::fill_n(to, padded, 0.0f);
  for (size_t i = 0; i < n_whole; ++i) to[i] = part(i);
  for (size_t i = 0; i < n_tail; ++i) to[padded - n_tail + i] = part(n_whole + i);
}

template <class T>
HWY_INLINE void bound_pages(const T* summaries, MatView<const float> Q, MatView<float> bounds, float* scratch) {
  const size_t lanes = hn::Lanes(DF()), width = 2 * Q.cols, padded = (width + lanes - 1) / lanes * lanes;
  if (width < lanes) return ref::page_bounds(summaries, Q, bounds);
  float* const queries = scratch;                 // [Q.rows, padded]
  float* const tile = queries + Q.rows * padded;  // [kTilePages, width]
  for (size_t r = 0; r < Q.rows; ++r) split_query(Q.row(r), padded, queries + r * padded);
  Lines none;
  const auto take = [&](const auto* rows, size_t first, size_t n) HWY_ATTR {
    size_t r = 0;
    for (; r + 2 <= Q.rows; r += 2) {
      const float* const q[] = {queries + r * padded, queries + (r + 1) * padded};
      float* const to[] = {bounds.row(r).data() + first, bounds.row(r + 1).data() + first};
      dot_keys<2>(q, rows, n, width, to, none, 0);
    }
    if (r == Q.rows) return;
    const float* const q = queries + r * padded;
    float* const to = bounds.row(r).data() + first;
    dot_keys<1>(&q, rows, n, width, &to, none, 0);
  };
  for (size_t first = 0; first < bounds.cols; first += kTilePages) {
    const size_t n = std::min(kTilePages, bounds.cols - first);
    const T* const rows = summaries + first * width;
    Q.rows <= 2 ? take(rows, first, n) : take(as_f32(rows, n * width, tile), first, n);  // converted once for all
  }
  for (size_t r = 0; r < Q.rows; ++r) no_nan(bounds.row(r));
}

void BoundsF32(const float* summaries, MatView<const float> Q, MatView<float> bounds, float* scratch) {
  bound_pages(summaries, Q, bounds, scratch);
}
void BoundsF16(const f16* summaries, MatView<const float> Q, MatView<float> bounds, float* scratch) {
  bound_pages(summaries, Q, bounds, scratch);
}

size_t BoundsScratch(size_t n_rows, size_t d) {
  const size_t lanes = hn::Lanes(DF());
  return n_rows * (2 * d + lanes) + kTilePages * 2 * d;
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace hunch {
HWY_EXPORT(BoundsF32);
HWY_EXPORT(BoundsF16);
HWY_EXPORT(BoundsScratch);

namespace {

// The half next to the nearest one where that lies on the wrong side.
template <bool kUpwards>
f16 round_away(float value) {
  const f16 nearest = to_f16(value);
  if (kUpwards ? !(to_f32(nearest) < value) : !(to_f32(nearest) > value)) return nearest;
  const bool negative = nearest.bits & 0x8000, is_zero = (nearest.bits & 0x7fff) == 0;
  if (is_zero) return {uint16_t(kUpwards ? 0x0001 : 0x8001)};
  return {uint16_t(negative == kUpwards ? nearest.bits - 1 : nearest.bits + 1)};
}

template <class Write>
void summarise(MatView<const float> K, const Write& write) {
  for (size_t i = 0; i < K.cols; ++i) {
    float largest = K.row(0)[i], smallest = largest;
    for (size_t j = 1; j < K.rows; ++j) {
      largest = std::max(largest, K.row(j)[i]);
      smallest = std::min(smallest, K.row(j)[i]);
    }
    write(i, largest, smallest);
  }
}

}  // namespace

void summarise_keys(MatView<const float> K, float* to) {
  summarise(K, [&](size_t i, float largest, float smallest) { to[i] = largest, to[K.cols + i] = smallest; });
}

void summarise_keys(MatView<const float> K, f16* to) {
  summarise(K, [&](size_t i, float largest, float smallest) {
    to[i] = round_away<true>(largest);
    to[K.cols + i] = round_away<false>(smallest);
  });
}

void page_bounds(const float* summaries, MatView<const float> Q, MatView<float> bounds, float* scratch) {
  HWY_DYNAMIC_DISPATCH(BoundsF32)(summaries, Q, bounds, scratch);
}
void page_bounds(const f16* summaries, MatView<const float> Q, MatView<float> bounds, float* scratch) {
  HWY_DYNAMIC_DISPATCH(BoundsF16)(summaries, Q, bounds, scratch);
}
size_t page_bounds_scratch(size_t n_rows, size_t d) { return HWY_DYNAMIC_DISPATCH(BoundsScratch)(n_rows, d); }

}  // namespace hunch
#endif  // HWY_ONCE
