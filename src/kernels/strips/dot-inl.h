// Strips of a quantised matrix times a few tokens, for one set of instructions. No include guard: strips.cc includes it
// inside namespace HWY_NAMESPACE, once as the target is (HUNCH_VNNI 0, namespace plain_strips) and, on x86, once with
// vpdpbusd (HUNCH_VNNI 1, namespace vnni_strips).
//
// Lanes are rows. Four columns of x, broadcast from memory, meet four columns of each row; a block's integer sums begin
// at -offset * the sum of its x, and are scaled and added in f32, block after block: the same operations in the same
// order as in gemm_int8-inl.h, so that a token's bits do not depend on how many are computed together.

#if HUNCH_VNNI
namespace vnni_strips {
#else
namespace plain_strips {
#endif
using namespace strip;  // NOLINT

#include "kernels/strips/codes_dot-inl.h"

// Group g of a strip, at `group`, times x: added to the sums of M tokens.
template <class F, size_t M>
HWY_INLINE void AddGroup(const std::byte* group, size_t g, StripPrefetch ahead, const Tile& x, VF (&sum)[kSlices][M]) {
  constexpr StripCodes s = StripShape<F>::kCodes;
  constexpr size_t kNSub = StripScales<F>::kNSub, kQuads = 8 / kNSub;
  const D32 d32;
  const DF df;
  StripScales<F> scales;
  scales.Read(group);
  HWY_UNROLL(2) for (size_t b = 0; b < s.n_blocks(); ++b) {
    const std::byte* block = group + s.head_bytes + b * s.block_bytes();
    // The block's share of the group, so that no more lines are under way at once than must.
    constexpr size_t kShare = (s.group_bytes() / s.n_blocks() + 63) / 64 * 64;
    const size_t share = std::min(b * kShare, s.group_bytes());
    AskAhead(ahead, group + share, std::min(kShare, s.group_bytes() - share));
    const size_t at = g * s.n_blocks() + b;
    HWY_UNROLL(4) for (size_t v = 0; v < kSlices; ++v) {
      VU8 u[8];
      Codes<s.bits>(block + v * kSliceBytes, u);
      HWY_UNROLL(2) for (size_t sub = 0; sub < kNSub; ++sub) {
        V32 dot[M];
        HWY_UNROLL(8) for (size_t t = 0; t < M; ++t) dot[t] = Start<s.offset>(&x.start[t][at * kNSub + sub]);
        if constexpr (M == 1) {  // two chains: one would wait for itself
          V32 other = hn::Zero(d32);
          HWY_UNROLL(4) for (size_t k = sub * kQuads; k < (sub + 1) * kQuads; k += 2) {
            dot[0] = Dot<s.value_bits()>(dot[0], u[k], Four(x.q[0] + 32 * at + 4 * k));
            other = Dot<s.value_bits()>(other, u[k + 1], Four(x.q[0] + 32 * at + 4 * k + 4));
          }
          dot[0] = hn::Add(dot[0], other);
        } else {
          HWY_UNROLL(8) for (size_t k = sub * kQuads; k < (sub + 1) * kQuads; ++k) {
            HWY_UNROLL(8)
            for (size_t t = 0; t < M; ++t) dot[t] = Dot<s.value_bits()>(dot[t], u[k], Four(x.q[t] + 32 * at + 4 * k));
          }
        }
        const VF scale = scales.Scale(b * kNSub + sub, v * kLanes);
        HWY_UNROLL(8)
        for (size_t t = 0; t < M; ++t)
          sum[v][t] = hn::MulAdd(hn::ConvertTo(df, dot[t]), hn::Mul(scale, hn::Set(df, x.scale[t][at])), sum[v][t]);
        if constexpr (F::kFormat.has_min) {
          const VF min = scales.Min(b * kNSub + sub, v * kLanes);
          HWY_UNROLL(8)
          for (size_t t = 0; t < M; ++t)
            sum[v][t] = hn::NegMulAdd(min, hn::Set(df, x.scaled_sum[t][at * kNSub + sub]), sum[v][t]);
        }
      }
    }
  }
}

// y[t][row] += the strip's rows . x[t], for M tokens, kGroups groups a turn. `ahead`: see strip_prefetch().
template <class F, size_t M, size_t kGroups>
HWY_NOINLINE void MultiplyStrip(const std::byte* strip, size_t n_groups, StripPrefetch ahead, const Tile& x) {
  constexpr size_t kBytes = StripShape<F>::kCodes.group_bytes();
  const DF df;
  VF sum[kSlices][M];
  HWY_UNROLL(4)
  for (size_t v = 0; v < kSlices; ++v)
    HWY_UNROLL(8) for (size_t t = 0; t < M; ++t) sum[v][t] = hn::LoadU(df, x.y[t] + v * kLanes);
  size_t g = 0;
  if constexpr (kGroups > 1) {
    for (; g + kGroups <= n_groups; g += kGroups, strip += kGroups * kBytes) {
      HWY_UNROLL(8) for (size_t i = 0; i < kGroups; ++i) AddGroup<F, M>(strip + i * kBytes, g + i, ahead, x, sum);
    }
  }
  for (; g < n_groups; ++g, strip += kBytes) AddGroup<F, M>(strip, g, ahead, x, sum);
  HWY_UNROLL(4)
  for (size_t v = 0; v < kSlices; ++v)
    HWY_UNROLL(8) for (size_t t = 0; t < M; ++t) hn::StoreU(sum[v][t], df, x.y[t] + v * kLanes);
}

// On Zen 5 a loop whose loads step by a kilobyte or so each turn gains nothing from software prefetch: it seems that
// the processor follows such strides itself, and that the two are in each other's way. Where each load steps over
// several kilobytes it is worth up to 1.4 times the speed. Groups of such a turn, by what was fastest
// (docs/performance.md).
constexpr bool kTurnsLong = HWY_TARGET <= HWY_AVX3;
template <class F, size_t M>
constexpr size_t GroupsOfLongTurn() {
  constexpr StripCodes s = StripShape<F>::kCodes;
  if (!kTurnsLong) return 1;
  if (s.columns == 64) return s.group_bytes() < 1024 ? 8 : 2;
  return s.group_bytes() > 2200 && s.group_bytes() < (M == 1 ? 4096 : 3000) ? 2 : 1;
}

// For one or two tokens.
template <class F, size_t M>
HWY_INLINE void MultiplyFew(const std::byte* strip, size_t n_groups, StripPrefetch ahead, const Tile& x) {
  ahead.long_turns ? MultiplyStrip<F, M, GroupsOfLongTurn<F, M>()>(strip, n_groups, ahead, x)
                   : MultiplyStrip<F, M, 1>(strip, n_groups, ahead, x);
}

template <class F>
void DotRange(const GemvArgs& a, const QuantizedX& x, size_t begin, size_t end) {
  constexpr StripCodes s = StripShape<F>::kCodes;
  const size_t n_groups = (a.W.cols + s.columns - 1) / s.columns;
  constexpr bool kLongGroups = s.n_blocks() > 2;
  const StripPrefetch ahead = strip_prefetch(kLongGroups, false), few = strip_prefetch(kLongGroups, kTurnsLong);
  alignas(64) float y[kMostStripTokens][kStripRows];
  for (size_t row = begin; row < end; row += kStripRows) {
    const std::byte* strip = a.W.strips + row / kStripRows * a.W.strip_stride_bytes;
    const size_t n_rows = std::min(kStripRows, end - row);
    for (size_t first = 0; first < x.n_tokens;) {
      const size_t n = std::min(x.n_tokens - first, kMostStripTokens);
      const size_t n_computed = n <= 2 ? n : n <= 4 ? 4 : kMostStripTokens;
      Tile tile;
      for (size_t t = 0; t < n_computed; ++t) {
        const size_t token = first + std::min(t, n - 1);  // past n: repeated, and its result dropped
        tile.q[t] = x.q_row(token);
        tile.scale[t] = x.scale_row(token);
        constexpr bool kHalves = StripScales<F>::kNSub == 2;
        tile.scaled_sum[t] = kHalves ? x.scaled_sum16_row(token) : x.scaled_sum_row(token);
        tile.start[t] = kHalves ? x.start16_row(token) : x.start32_row(token);
        tile.y[t] = y[t];
        for (size_t r = 0; r < kStripRows; ++r) y[t][r] = a.bias && r < n_rows ? a.bias[row + r] : 0.0f;
      }
      if (n_computed == 1) {
        MultiplyFew<F, 1>(strip, n_groups, few, tile);
      } else if (n_computed == 2) {
        MultiplyFew<F, 2>(strip, n_groups, few, tile);
      } else if constexpr (kMostStripTokens > 4) {
        n_computed == 4 ? MultiplyStrip<F, 4, 1>(strip, n_groups, ahead, tile)
                        : MultiplyStrip<F, kMostStripTokens, 1>(strip, n_groups, ahead, tile);
      }
      for (size_t t = 0; t < n; ++t) std::memcpy(a.y + (first + t) * a.y_stride + row, y[t], n_rows * sizeof(float));
      first += n;
    }
  }
}

void Dot(const GemvArgs& a, const QuantizedX& x, size_t begin, size_t end) {
  with_format(a.W.dtype, [&](QuantisedFormat auto f) { DotRange<decltype(f)>(a, x, begin, end); });
}

}  // namespace vnni_strips or plain_strips
