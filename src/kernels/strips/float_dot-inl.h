// Strips of formats whose numbers are floats times a few tokens.
#if defined(HUNCH_KERNELS_STRIPS_FLOAT_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_STRIPS_FLOAT_DOT_INL_H_
#undef HUNCH_KERNELS_STRIPS_FLOAT_DOT_INL_H_
#else
#define HUNCH_KERNELS_STRIPS_FLOAT_DOT_INL_H_
#endif
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/gemv.h"
#include "kernels/strips/floats-inl.h"

#if HUNCH_INT8_SIMD
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace strip {

// y[t][row] += the strip's rows . x[t], for M tokens. Each group of 64 columns is summed in four chains, whatever M is,
// and scaled once: a token's bits do not depend on how many are computed together.
template <class F, size_t M>
HWY_NOINLINE void MultiplyFloats(const std::byte* strip, size_t n_groups, StripPrefetch ahead, const float* const* x,
                                 float (*y)[kStripRows]) {
  using Lines = FloatLines<F>;
  constexpr StripCodes s = StripShape<F>::kCodes;
  constexpr size_t kChains = 4, kLines = s.columns / Lines::kColumns;
  const DF df;
  VF sum[kSlices][M];
  HWY_UNROLL(4)
  for (size_t v = 0; v < kSlices; ++v)
    HWY_UNROLL(4) for (size_t t = 0; t < M; ++t) sum[v][t] = hn::LoadU(df, y[t] + v * kLanes);
  for (size_t g = 0; g < n_groups; ++g, strip += s.group_bytes()) {
    AskAhead(ahead, strip, s.group_bytes());
    HWY_UNROLL(4) for (size_t v = 0; v < kSlices; ++v) {
      VF chain[M][kChains];
      HWY_UNROLL(4)
      for (size_t t = 0; t < M; ++t) HWY_UNROLL(4) for (size_t i = 0; i < kChains; ++i) chain[t][i] = hn::Zero(df);
      HWY_UNROLL(16) for (size_t line = 0; line < kLines; ++line) {
        VF w[Lines::kColumns];
        Lines::Load(strip + s.head_bytes + 64 * line, v * kLanes, w);
        HWY_UNROLL(8) for (size_t i = 0; i < Lines::kColumns; ++i) {
          const size_t column = s.columns * g + Lines::Column(line, i);
          HWY_UNROLL(4) for (size_t t = 0; t < M; ++t) {
            VF& sum_of = chain[t][i % kChains];
            sum_of = hn::MulAdd(w[i], hn::Set(df, x[t][column]), sum_of);
          }
        }
      }
      const VF factor = Lines::Factor(strip, v * kLanes);
      HWY_UNROLL(4) for (size_t t = 0; t < M; ++t) {
        const VF all = hn::Add(hn::Add(chain[t][0], chain[t][1]), hn::Add(chain[t][2], chain[t][3]));
        sum[v][t] = hn::MulAdd(factor, all, sum[v][t]);
      }
    }
  }
  HWY_UNROLL(4)
  for (size_t v = 0; v < kSlices; ++v)
    HWY_UNROLL(4) for (size_t t = 0; t < M; ++t) hn::StoreU(sum[v][t], df, y[t] + v * kLanes);
}

template <class F>
void DotFloatsRange(const GemvArgs& a, MatView<const float> X, size_t begin, size_t end) {
  constexpr size_t kMost = HUNCH_AVX512 ? 4 : 2;  // tokens whose sums stay in registers
  constexpr StripCodes s = StripShape<F>::kCodes;
  const size_t n_groups = a.W.cols / s.columns;
  const StripPrefetch ahead = strip_prefetch(false, false);
  alignas(64) float y[kMost][kStripRows];
  for (size_t row = begin; row < end; row += kStripRows) {
    const std::byte* strip = a.W.strips + row / kStripRows * a.W.strip_stride_bytes;
    const size_t n_rows = std::min(kStripRows, end - row);
    for (size_t first = 0, n = 0; first < X.rows; first += n) {
      n = std::min(X.rows - first, kMost);
      const float* x[kMost];
      for (size_t t = 0; t < kMost; ++t) {
        x[t] = X.data + (first + std::min(t, n - 1)) * X.row_stride;  // past n: repeated, and its result dropped
        for (size_t r = 0; r < kStripRows; ++r) y[t][r] = a.bias && r < n_rows ? a.bias[row + r] : 0.0f;
      }
      if (n == 1) {
        MultiplyFloats<F, 1>(strip, n_groups, ahead, x, y);
      } else if (n == 2) {
        MultiplyFloats<F, 2>(strip, n_groups, ahead, x, y);
      } else {
        MultiplyFloats<F, kMost>(strip, n_groups, ahead, x, y);
      }
      for (size_t t = 0; t < n; ++t) std::memcpy(a.y + (first + t) * a.y_stride + row, y[t], n_rows * sizeof(float));
    }
  }
}

}  // namespace strip
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_INT8_SIMD
#endif
