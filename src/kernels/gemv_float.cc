#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemv_float.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"
#include "kernels/gemv.h"

#include "kernels/formats/all-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// Bytes ahead of the reader that are asked for, per row. Far enough to cover the latency of memory
// at full bandwidth with several rows in flight, near enough to stay in L1.
constexpr size_t kAheadBytes = 1024;
// Rows read side by side for one token.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM
constexpr size_t kStreams = 8;
#else
constexpr size_t kStreams = 4;
#endif

// out[r * T + t] = dot(w[r], x[t]) for R rows and T tokens. Past the end of w[r] the prefetch goes on
// with ahead[r], the row that the caller will visit next.
template <class Weight, int R, int T>
HWY_NOINLINE void DotTile(const std::byte* const* w, const std::byte* const* ahead, const float* const* x, size_t n,
                          float* out) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const size_t N = hn::Lanes(d);
  V acc[R][T];
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) acc[r][t] = hn::Zero(d);
  constexpr size_t kStep = Weight::kStep;  // one line of each row
  const size_t row_bytes = Weight::Bytes(n);
  size_t i = 0;
  const auto step = [&](size_t at) HWY_ATTR {
    V wv[R];
    for (int r = 0; r < R; ++r) wv[r] = Weight::Load(d, w[r], at);
    for (int t = 0; t < T; ++t) {
      const V xv = hn::LoadU(d, x[t] + at);
      for (int r = 0; r < R; ++r) acc[r][t] = hn::MulAdd(wv[r], xv, acc[r][t]);
    }
  };
  for (; i + kStep <= n; i += kStep) {
    const size_t offset = Weight::Bytes(i) + kAheadBytes;
    if (offset < row_bytes) {
      for (int r = 0; r < R; ++r) hwy::Prefetch(w[r] + offset);
    } else {
      for (int r = 0; r < R; ++r) hwy::Prefetch(ahead[r] + (offset - row_bytes));
    }
    for (size_t j = 0; j < kStep; j += N) step(i + j);
  }
  for (; i + N <= n; i += N) step(i);
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) {
      float sum = hn::GetLane(hn::SumOfLanes(d, acc[r][t]));
      for (size_t j = i; j < n; ++j) sum += Weight::One(w[r], j) * x[t][j];
      out[r * T + t] = sum;
    }
}

template <class Weight, int R>
void RowGroup(const GemvArgs& a, MatView<const float> X, size_t i, const std::byte* const* w,
              const std::byte* const* ahead) {
  const float* x[4];
  float out[R * 4];
  for (size_t t = 0; t < X.rows;) {
    const size_t left = X.rows - t;
    const int T = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    for (int k = 0; k < T; ++k) x[k] = X.data + (t + size_t(k)) * X.row_stride;
    if (T == 4) {
      DotTile<Weight, R, 4>(w, ahead, x, X.cols, out);
    } else if (T == 2) {
      DotTile<Weight, R, 2>(w, ahead, x, X.cols, out);
    } else {
      DotTile<Weight, R, 1>(w, ahead, x, X.cols, out);
    }
    for (int r = 0; r < R; ++r)
      for (int k = 0; k < T; ++k)
        a.y[(t + size_t(k)) * a.y_stride + i + size_t(r)] = out[r * T + k] + (a.bias ? a.bias[i + size_t(r)] : 0.0f);
    t += size_t(T);
  }
}

// One token: more rows at once, because more streams draw more from memory.
template <class Weight>
void RowGroupOfOneToken(const GemvArgs& a, MatView<const float> X, size_t i, const std::byte* const* w,
                        const std::byte* const* ahead) {
  float out[kStreams];
  DotTile<Weight, kStreams, 1>(w, ahead, &X.data, X.cols, out);
  for (size_t r = 0; r < kStreams; ++r) a.y[i + r] = out[r] + (a.bias ? a.bias[i + r] : 0.0f);
}

template <class Weight>
void GemvRange(const GemvArgs& a, MatView<const float> X, size_t begin, size_t end) {
  const auto row = [&](size_t i) {
    const size_t at = i < end ? i : end - 1;  // past the end: anything that may be prefetched
    return a.W.data + (a.ids ? a.ids[at] : at) * a.W.row_stride_bytes;
  };
  size_t i = begin;
  const std::byte *w[kStreams], *ahead[kStreams];
  if (X.rows == 1) {
    for (; i + kStreams <= end; i += kStreams) {
      for (size_t r = 0; r < kStreams; ++r) w[r] = row(i + r), ahead[r] = row(i + kStreams + r);
      RowGroupOfOneToken<Weight>(a, X, i, w, ahead);
    }
  }
  for (; i + 4 <= end; i += 4) {
    for (size_t r = 0; r < 4; ++r) w[r] = row(i + r), ahead[r] = row(i + 4 + r);
    RowGroup<Weight, 4>(a, X, i, w, ahead);
  }
  for (; i < end; ++i) {
    w[0] = row(i), ahead[0] = row(i + 1);
    RowGroup<Weight, 1>(a, X, i, w, ahead);
  }
}

void GemvFloat(const GemvArgs& a, MatView<const float> X, size_t begin, size_t end) {
  if (begin >= end) return;
  with_format(a.W.dtype, [&](FloatFormat auto f) { GemvRange<Simd<decltype(f)>>(a, X, begin, end); });
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(GemvFloat);
void gemv_float(const GemvArgs& args, MatView<const float> X, size_t begin, size_t end) {
  HWY_DYNAMIC_DISPATCH(GemvFloat)(args, X, begin, end);
}
}  // namespace hunch
#endif
