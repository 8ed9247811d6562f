#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemv_axpy.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"
#include "kernels/gemv.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "kernels/formats/all-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

constexpr size_t kAheadBytes = 1024;  // per row, as in gemv_float.cc

// Asks for the lines [at, at + n) + kAheadBytes of each row; past the end of w[r], of ahead[r].
template <int R>
HWY_INLINE void PrefetchRows(const std::byte* const* w, const std::byte* const* ahead, size_t at, size_t n,
                             size_t row_bytes) {
  const size_t offset = at + kAheadBytes;
  for (int r = 0; r < R; ++r) {
    const std::byte* next = offset < row_bytes ? w[r] + offset : ahead[r] + (offset - row_bytes);
    for (size_t line = 0; line < n; line += 64) hwy::Prefetch(next + line);
  }
}

// y[t][:] += sum over R rows of a[r * T + t] * w[r][:]. The accumulators are read and written once
// for R rows, not for each.
template <class Weight>
struct FloatRows {
  template <int R, int T>
  static HWY_NOINLINE void Add(const std::byte* const* w, const std::byte* const* ahead, const float* a, size_t n,
                               float* const* y) {
    const hn::ScalableTag<float> d;
    const size_t N = hn::Lanes(d);
    constexpr size_t kStep = Weight::kStep;
    size_t i = 0;
    const auto step = [&](size_t at) HWY_ATTR {
      hn::Vec<decltype(d)> wv[R];
      for (int r = 0; r < R; ++r) wv[r] = Weight::Load(d, w[r], at);
      for (int t = 0; t < T; ++t) {
        auto sum = hn::LoadU(d, y[t] + at);
        for (int r = 0; r < R; ++r) sum = hn::MulAdd(wv[r], hn::Set(d, a[r * T + t]), sum);
        hn::StoreU(sum, d, y[t] + at);
      }
    };
    for (; i + kStep <= n; i += kStep) {
      PrefetchRows<R>(w, ahead, Weight::Bytes(i), 1, Weight::Bytes(n));
      for (size_t j = 0; j < kStep; j += N) step(i + j);
    }
    for (; i + N <= n; i += N) step(i);
    for (; i < n; ++i)
      for (int t = 0; t < T; ++t)
        for (int r = 0; r < R; ++r) y[t][i] += a[r * T + t] * Weight::One(w[r], i);
  }
};

template <class Format>
struct QuantisedRows {
  template <int R, int T>
  static HWY_NOINLINE void Add(const std::byte* const* w, const std::byte* const* ahead, const float* a, size_t n,
                               float* const* y) {
    // 16 lanes at most: a vector must not span two sub-blocks.
    const hn::CappedTag<float, 16> d;
    const hn::Rebind<int32_t, decltype(d)> d32;
    const hn::Rebind<int8_t, decltype(d)> d8;
    const size_t N = hn::Lanes(d);
    constexpr size_t kSub = Format::kSub;
    const size_t n_bytes = n / Format::kBlockElems * Format::kBlockBytes;
    constexpr bool kInPlace = requires { Format::kCodesAt; };  // codes are read where they lie
    Unpacked u[R];
    alignas(64) float factor[R][T][16], min[T][16];
    for (size_t at = 0; at < n; at += 256) {
      const size_t m = std::min<size_t>(256, n - at), offset = at / Format::kBlockElems * Format::kBlockBytes;
      PrefetchRows<R>(w, ahead, offset, 256 / Format::kBlockElems * Format::kBlockBytes, n_bytes);
      for (int r = 0; r < R; ++r) {
        if constexpr (kInPlace) {
          ScalesF16(w[r] + offset, Format::kBlockBytes, m / 32, u[r].scale);
        } else {
          UnpackGroup<Format>(w[r] + offset, m, u[r]);
        }
      }
      for (int t = 0; t < T; ++t) {
        for (int r = 0; r < R; ++r)
          for (size_t b = 0; b < 256 / kSub; ++b) factor[r][t][b] = a[r * T + t] * u[r].scale[b];
        if (Format::kHasMin)
          for (size_t b = 0; b < 256 / kSub; ++b) {
            min[t][b] = 0;
            for (int r = 0; r < R; ++r) min[t][b] += a[r * T + t] * u[r].min[b];
          }
      }
      for (size_t b = 0; b < m / kSub; ++b) {
        const int8_t* q[R];
        for (int r = 0; r < R; ++r) {
          if constexpr (kInPlace) {
            q[r] = reinterpret_cast<const int8_t*>(w[r] + offset + b * Format::kBlockBytes + Format::kCodesAt);
          } else {
            q[r] = u[r].q + b * kSub;
          }
        }
        for (size_t j = 0; j < kSub; j += N) {
          hn::Vec<decltype(d)> wv[R];
          for (int r = 0; r < R; ++r) wv[r] = hn::ConvertTo(d, hn::PromoteTo(d32, hn::LoadU(d8, q[r] + j)));
          for (int t = 0; t < T; ++t) {
            float* to = y[t] + at + b * kSub + j;
            auto sum = hn::LoadU(d, to);
            if (Format::kHasMin) sum = hn::Sub(sum, hn::Set(d, min[t][b]));
            for (int r = 0; r < R; ++r) sum = hn::MulAdd(wv[r], hn::Set(d, factor[r][t][b]), sum);
            hn::StoreU(sum, d, to);
          }
        }
      }
    }
  }
};

// Rows i .. i + n of the range (n <= 4); a missing row is row i with the factor 0.
template <class RowLoop>
void AddGroup(const AxpyArgs& args, size_t i, size_t n, const std::byte* const* w, const std::byte* const* ahead) {
  float a[16];
  float* y[4];
  for (size_t t = 0; t < args.A.rows;) {
    const size_t left = args.A.rows - t;
    const int T = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    for (int k = 0; k < T; ++k) {
      const float* from = args.A.data + (t + size_t(k)) * args.A.row_stride + i;
      for (size_t r = 0; r < 4; ++r) a[r * size_t(T) + size_t(k)] = r < n ? from[r] : 0.0f;
      y[k] = args.y + (t + size_t(k)) * args.y_stride;
    }
    if (args.skip_zeros && std::all_of(a, a + 4 * T, [](float v) { return v == 0; })) {
      t += size_t(T);
      continue;
    }
    if (T == 4) {
      RowLoop::template Add<4, 4>(w, ahead, a, args.W.cols, y);
    } else if (T == 2) {
      RowLoop::template Add<4, 2>(w, ahead, a, args.W.cols, y);
    } else {
      RowLoop::template Add<4, 1>(w, ahead, a, args.W.cols, y);
    }
    t += size_t(T);
  }
}

template <class RowLoop>
void AxpyRange(const AxpyArgs& args, size_t begin, size_t end) {
  const std::byte *w[4], *ahead[4];
  for (size_t i = begin; i < end; i += 4) {
    const size_t n = std::min<size_t>(4, end - i);
    const auto row = [&](size_t at) { return args.W.data + (args.ids ? args.ids[at] : at) * args.W.row_stride_bytes; };
    for (size_t r = 0; r < 4; ++r) {
      w[r] = row(r < n ? i + r : i);
      ahead[r] = row(std::min(i + 4 + r, end - 1));  // past the end: anything that may be prefetched
    }
    AddGroup<RowLoop>(args, i, n, w, ahead);
  }
}

#if HUNCH_AVX512
#include "kernels/gemv_axpy_avx512-inl.h"
#endif

void GemvAxpy(const AxpyArgs& args, size_t begin, size_t end) {
  if (begin >= end) return;
  with_format(args.W.dtype, [&](auto f) {
    using F = decltype(f);
    if constexpr (FloatFormat<F>) {
      return AxpyRange<FloatRows<Simd<F>>>(args, begin, end);
    } else {
#if HUNCH_AVX512
      if constexpr (wide::HasRowSum<F>) return wide::AxpyRange<F>(args, begin, end);
#endif
      return AxpyRange<QuantisedRows<Simd<F>>>(args, begin, end);
    }
  });
}

// 8192 x 2048 on Sapphire Rapids.
size_t MostTokens(DType dtype) {
  return with_format<size_t>(dtype, [&](auto f) -> size_t {
    if constexpr (requires { Simd<decltype(f)>::kAddTokens; }) {
      return Simd<decltype(f)>::kAddTokens;
    } else {
      return 15;
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(GemvAxpy);
HWY_EXPORT(MostTokens);
void gemv_axpy(const AxpyArgs& args, size_t begin, size_t end) { HWY_DYNAMIC_DISPATCH(GemvAxpy)(args, begin, end); }
size_t gemv_axpy_most_tokens(DType dtype) { return HWY_DYNAMIC_DISPATCH(MostTokens)(dtype); }
}  // namespace hunch
#endif
