#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/column_dot.cc"
#include "kernels/column_dot.h"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"

#include <algorithm>
#include <cstring>

#include "kernels/formats/all-inl.h"
#include "kernels/gemv.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// Rows ahead of the reader that are asked for, in each block: block-major, the next bytes.
constexpr size_t kRowsAhead = 8;

// R rows from `row` on. The blocks are as many streams through memory.
template <class Weight, int R>
HWY_NOINLINE void FloatTile(const ColumnDotArgs& a, size_t row) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const size_t N = hn::Lanes(d), width = a.W.width, whole = width / N * N;
  V acc[R];
  float rest[R] = {};
  for (int r = 0; r < R; ++r) acc[r] = hn::Zero(d);
  for (const uint32_t b : a.blocks) {
    const std::byte* w = a.W.at(row, b);
    const float* x = a.x + b * width;
    for (int r = 0; r < R; ++r)
      for (size_t line = 0; line < Weight::Bytes(width); line += 64)
        hwy::Prefetch(w + (size_t(r) + kRowsAhead) * a.W.row_stride_bytes + line);
    for (size_t i = 0; i < whole; i += N) {
      const V xv = hn::LoadU(d, x + i);
      for (int r = 0; r < R; ++r)
        acc[r] = hn::MulAdd(Weight::Load(d, w + size_t(r) * a.W.row_stride_bytes, i), xv, acc[r]);
    }
    for (size_t i = whole; i < width; ++i)
      for (int r = 0; r < R; ++r) rest[r] += Weight::One(w + size_t(r) * a.W.row_stride_bytes, i) * x[i];
  }
  for (int r = 0; r < R; ++r) {
    const size_t i = row + size_t(r);
    a.y[i] = hn::GetLane(hn::SumOfLanes(d, acc[r])) + rest[r] + (a.bias ? a.bias[i] : 0.0f);
  }
}

template <class Weight>
void FloatRange(const ColumnDotArgs& a, size_t begin, size_t end) {
  size_t i = begin;
  for (; i + 4 <= end; i += 4) FloatTile<Weight, 4>(a, i);
  for (; i < end; ++i) FloatTile<Weight, 1>(a, i);
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HUNCH_AVX512
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
namespace hunch {
namespace HWY_NAMESPACE {
namespace vnni {

// Groups of several blocks: k-quants, whose blocks are wider than heads, have no use for this.
template <class F>
concept InGroups = HasRow<F> && F::kFormat.block_elems < Row<F>::Packed::kElems;

// The blocks' columns in units of one group of the format: a part of a row, or several short rows side by side.
template <class Row>
struct Columns {
  static constexpr size_t kElems = Row::Packed::kElems;
  // Sums of the lanes of each of the `per_unit` rows in a unit.
  static HWY_INLINE void Store(__m512 acc, size_t per_unit, size_t n, const float* bias, float* y) {
    if (per_unit == 1) {
      *y = _mm512_reduce_add_ps(acc) + (bias ? *bias : 0.0f);
      return;
    }
    alignas(64) float lane[16];
    _mm512_store_ps(lane, acc);
    const size_t n_lanes = 16 / per_unit;
    for (size_t r = 0; r < n; ++r) {
      float sum = 0;
      for (size_t i = 0; i < n_lanes; ++i) sum += lane[r * n_lanes + i];
      y[r] = sum + (bias ? bias[r] : 0.0f);
    }
  }

  // U whole units from `row` on.
  template <int U>
  static HWY_NOINLINE void Tile(const ColumnDotArgs& a, size_t per_unit, size_t row) {
    const auto* x = reinterpret_cast<const typename Row::Packed*>(a.packed);
    const size_t n_groups = std::max<size_t>(a.W.width / kElems, 1), unit_bytes = per_unit * a.W.row_stride_bytes;
    __m512 acc[U];
    for (int u = 0; u < U; ++u) acc[u] = _mm512_setzero_ps();
    for (const uint32_t b : a.blocks) {
      const std::byte* w = a.W.at(row, b);
      for (int u = 0; u < U; ++u, w += unit_bytes) {
        for (size_t g = 0; g < n_groups; ++g) {
          const std::byte* group = w + g * Row::kBytes;
          _mm_prefetch(group + U * unit_bytes, _MM_HINT_T0);
          if (Row::kBytes > 64) _mm_prefetch(group + U * unit_bytes + 64, _MM_HINT_T0);
          const typename Row::Packed* xg = x + g;
          Row::template Accumulate<1>(group, &xg, &acc[u]);
        }
      }
      x += n_groups;
    }
    for (int u = 0; u < U; ++u) {
      const size_t i = row + size_t(u) * per_unit;
      Store(acc[u], per_unit, per_unit, a.bias ? a.bias + i : nullptr, a.y + i);
    }
  }

  // Fewer rows than a unit has: the missing ones are zero.
  static void Rest(const ColumnDotArgs& a, size_t per_unit, size_t row, size_t n) {
    const auto* x = reinterpret_cast<const typename Row::Packed*>(a.packed);
    alignas(64) std::byte group[Row::kBytes];
    __m512 acc = _mm512_setzero_ps();
    for (const uint32_t b : a.blocks) {
      std::memset(group, 0, sizeof group);
      std::memcpy(group, a.W.at(row, b), n * a.W.row_stride_bytes);
      Row::template Accumulate<1>(group, &x, &acc);
      ++x;
    }
    Store(acc, per_unit, n, a.bias ? a.bias + row : nullptr, a.y + row);
  }

  static void Range(const ColumnDotArgs& a, size_t begin, size_t end) {
    const size_t per_unit = std::max<size_t>(kElems / a.W.width, 1);
    size_t i = begin;
    for (; i + 8 * per_unit <= end; i += 8 * per_unit) Tile<8>(a, per_unit, i);
    for (; i + per_unit <= end; i += per_unit) Tile<1>(a, per_unit, i);
    if (i < end) Rest(a, per_unit, i, end - i);
  }

  static bool Applies(const ColumnBlocks& W) {
    if (W.width % kElems == 0) return true;
    return kElems % W.width == 0 && W.row_stride_bytes == row_bytes(W.dtype, W.width);  // rows side by side
  }
};

}  // namespace vnni
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_POP_ATTRIBUTES
#endif

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

bool ColumnDotApplies(const ColumnBlocks& W) {
  return with_format<bool>(W.dtype, [&](auto f) {
    using F = decltype(f);
    if constexpr (FloatFormat<F>) return true;
#if HUNCH_AVX512
    if constexpr (vnni::InGroups<F>) return has_avx512_vnni() && vnni::Columns<vnni::Row<F>>::Applies(W);
#endif
    return false;
  });
}

size_t ColumnDotRepeats(const ColumnBlocks& W) {
  return with_format<size_t>(W.dtype, [&](auto f) -> size_t {
#if HUNCH_AVX512
    using F = decltype(f);
    if constexpr (vnni::InGroups<F>) return std::max<size_t>(vnni::Row<F>::Packed::kElems / W.width, 1);
#endif
    return 1;
  });
}

void ColumnDot(const ColumnDotArgs& a, size_t begin, size_t end) {
  with_format(a.W.dtype, [&](auto f) {
    using F = decltype(f);
    if constexpr (FloatFormat<F>) return FloatRange<Simd<F>>(a, begin, end);
#if HUNCH_AVX512
    if constexpr (vnni::InGroups<F>) return vnni::Columns<vnni::Row<F>>::Range(a, begin, end);
#endif
    HUNCH_CHECK(FloatFormat<F>, "column_dot on {}", name_of(a.W.dtype));
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(ColumnDotApplies);
HWY_EXPORT(ColumnDotRepeats);
HWY_EXPORT(ColumnDot);

bool column_dot_applies(const ColumnBlocks& W) { return HWY_DYNAMIC_DISPATCH(ColumnDotApplies)(W); }
size_t column_dot_repeats(const ColumnBlocks& W) { return HWY_DYNAMIC_DISPATCH(ColumnDotRepeats)(W); }
size_t column_dot_packed_bytes(const ColumnBlocks& W, const QuantizedX& x) {
  return gemv_int8_packed_bytes(W.dtype, x);
}
void column_dot_pack(const ColumnBlocks& W, const QuantizedX& x, std::byte* packed) {
  gemv_int8_pack(W.dtype, x, packed);
}
void column_dot(const ColumnDotArgs& args, size_t begin, size_t end) {
  HWY_DYNAMIC_DISPATCH(ColumnDot)(args, begin, end);
}
}  // namespace hunch
#endif
