#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_float.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"
#include "kernels/gemm.h"

#include <algorithm>
#include <cstring>

#include "base/checked_math.h"
#include "kernels/formats/all-inl.h"
#include "kernels/strips/floats-inl.h"
#include "kernels/transpose4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// Lanes are rows of W (columns of Y). The micro-kernel keeps kTokens x 2 vectors of sums in registers:
// 24 of 32, or 12 of 16; with 2 weight vectors and one broadcast, that covers the latency of FMA and
// leaves one load per FMA pair.
using DF = hn::ScalableTag<float>;
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM
constexpr size_t kTokens = 12;
#else
constexpr size_t kTokens = 6;
#endif
constexpr size_t kDepth = 256;  // columns of W per panel; a strip of 32 rows then has 32 KB
constexpr size_t kWidth = 256;  // rows per panel: 256 KB of f32, half of a small L2
HWY_INLINE size_t StripRows() { return 2 * hn::Lanes(DF()); }

// packed[chunk of kDepth columns][tile of kTokens][column][token]
size_t PackedOffset(size_t n_tokens, size_t from, size_t depth, size_t tile) {
  const size_t padded = (n_tokens + kTokens - 1) / kTokens * kTokens;
  return from * padded + tile * kTokens * depth;
}

void PackTiles(MatView<const float> X, size_t begin, size_t end, float* packed) {
  for (size_t from = 0; from < X.cols; from += kDepth) {
    const size_t depth = std::min(kDepth, X.cols - from);
    for (size_t tile = begin; tile < end; ++tile) {
      float* out = packed + PackedOffset(X.rows, from, depth, tile);
      for (size_t t = 0; t < kTokens; ++t) {
        const size_t token = tile * kTokens + t;
        if (token < X.rows) {
          const float* x = X.data + token * X.row_stride + from;
          for (size_t k = 0; k < depth; ++k) out[k * kTokens + t] = x[k];
        } else {
          for (size_t k = 0; k < depth; ++k) out[k * kTokens + t] = 0;
        }
      }
    }
  }
}

// y[t][0 .. strip) += sum_k w[k][0 .. strip) * x[k][t] for the first M tokens of a tile.
template <size_t M>
HWY_NOINLINE void MultiplyTile(const float* w, const float* x, size_t depth, float* const* y) {
  const DF d;
  const size_t N = hn::Lanes(d);
  hn::Vec<DF> sum0[M], sum1[M];
  for (size_t t = 0; t < M; ++t) {
    sum0[t] = hn::LoadU(d, y[t]);
    sum1[t] = hn::LoadU(d, y[t] + N);
  }
  for (size_t k = 0; k < depth; ++k, w += 2 * N, x += kTokens) {
    const auto w0 = hn::Load(d, w), w1 = hn::Load(d, w + N);
    for (size_t t = 0; t < M; ++t) {
      const auto xv = hn::Set(d, x[t]);
      sum0[t] = hn::MulAdd(w0, xv, sum0[t]);
      sum1[t] = hn::MulAdd(w1, xv, sum1[t]);
    }
  }
  for (size_t t = 0; t < M; ++t) {
    hn::StoreU(sum0[t], d, y[t]);
    hn::StoreU(sum1[t], d, y[t] + N);
  }
}

// All tokens times one panel: strips of StripRows() columns of Y, [strip][depth][row in strip].
void MultiplyPanel(const GemmArgs& a, const float* packed, size_t n_tokens, size_t column, size_t n_columns,
                   size_t from, size_t depth, const float* panel) {
  const size_t S = StripRows();
  alignas(64) float partial[kTokens][64];
  for (size_t tile = 0; tile * kTokens < n_tokens; ++tile) {
    const size_t first = tile * kTokens, n = std::min(kTokens, n_tokens - first);
    const float* x = packed + PackedOffset(n_tokens, from, depth, tile);
    for (size_t c = 0; c < n_columns; c += S) {
      const size_t width = std::min(S, n_columns - c);
      float* y[kTokens];
      for (size_t t = 0; t < kTokens; ++t) {
        y[t] = partial[t];  // dropped for t >= n
        if (t >= n) continue;
        float* to = a.Y.data + (first + t) * a.Y.row_stride + column + c;
        if (width == S) {
          y[t] = to;
        } else {
          std::memcpy(partial[t], to, width * sizeof(float));
        }
      }
      const float* w = panel + c * depth;
      if (n > 8) {
        MultiplyTile<kTokens>(w, x, depth, y);
      } else if (n > 4) {
        MultiplyTile<std::min<size_t>(8, kTokens)>(w, x, depth, y);
      } else if (n > 2) {
        MultiplyTile<4>(w, x, depth, y);
      } else {
        MultiplyTile<2>(w, x, depth, y);
      }
      if (width < S)
        for (size_t t = 0; t < n; ++t)
          std::memcpy(a.Y.data + (first + t) * a.Y.row_stride + column + c, partial[t], width * sizeof(float));
    }
  }
}

void StartWithBias(const GemmArgs& a, size_t begin, size_t end) {
  for (size_t t = 0; t < a.Y.rows; ++t) {
    float* y = a.Y.data + t * a.Y.row_stride;
    for (size_t c = begin; c < end; ++c) y[c] = a.bias ? a.bias[c] : 0.0f;
  }
}

// Transposes `depth` columns of up to StripRows() rows of W into strip[k][row].
template <class Weight>
void TransposeStrip(const std::byte* w, size_t row_stride_bytes, size_t n_rows, size_t from, size_t depth,
                    float* strip) {
  const size_t S = StripRows();
  if (n_rows < S) std::memset(strip, 0, depth * S * sizeof(float));
  size_t r = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::Full128<float> d4;
  const Four d32;
  for (; r + 4 <= n_rows; r += 4) {
    const std::byte* row[4];
    for (size_t i = 0; i < 4; ++i) row[i] = w + (r + i) * row_stride_bytes;
    size_t k = 0;
    for (; k + 4 <= depth; k += 4) {
      const auto load = [&](size_t i) HWY_ATTR { return hn::BitCast(d32, Weight::Load(d4, row[i], from + k)); };
      Transpose4x4(load(0), load(1), load(2), load(3), reinterpret_cast<uint32_t*>(strip + k * S + r), S);
    }
    for (; k < depth; ++k)
      for (size_t i = 0; i < 4; ++i) strip[k * S + r + i] = Weight::One(row[i], from + k);
  }
#endif
  for (; r < n_rows; ++r)
    for (size_t k = 0; k < depth; ++k) strip[k * S + r] = Weight::One(w + r * row_stride_bytes, from + k);
}

#if HUNCH_INT8_SIMD
// The same of rows [r, r + 16) of a panel, from their strip, whose lanes are rows already.
template <class F>
void FillFromStrip(const std::byte* groups, size_t r, size_t depth, float* panel) {
  using Lines = strip::FloatLines<F>;
  constexpr StripCodes s = StripShape<F>::kCodes;
  const size_t S = StripRows();
  for (size_t from = 0; from < depth; from += s.columns, groups += s.group_bytes())
    for (size_t v = 0; v < kStripRows; v += strip::kLanes) {
      float* to = panel + (r + v) / S * S * depth + from * S + (r + v) % S;
      const auto factor = Lines::Factor(groups, v);
      for (size_t line = 0; line < s.columns / Lines::kColumns; ++line) {
        strip::VF w[Lines::kColumns];
        Lines::Load(groups + s.head_bytes + 64 * line, v, w);
        for (size_t i = 0; i < Lines::kColumns; ++i)
          hn::Store(hn::Mul(w[i], factor), strip::DF(), to + Lines::Column(line, i) * S);
      }
    }
}
#endif

// Columns [from, from + depth) of n_rows rows of W, `row` on: [strip of StripRows()][depth][row in strip].
template <class F>
void FillPanel(const WeightView& W, size_t row, size_t n_rows, size_t from, size_t depth, float* panel) {
  const size_t S = StripRows();
#if HUNCH_INT8_SIMD
  if constexpr (FloatBlockFormat<F>) {
    if (W.strips) {
      constexpr StripCodes s = StripShape<F>::kCodes;
      for (size_t r = 0; r < round_up(n_rows, S); r += kStripRows) {
        if (r < n_rows) {
          const std::byte* strip = W.strips + (row + r) / kStripRows * W.strip_stride_bytes;
          FillFromStrip<F>(strip + from / s.columns * s.group_bytes(), r, depth, panel);
        } else {
          for (size_t k = 0; k < depth; ++k)
            std::memset(panel + r / S * S * depth + k * S + r % S, 0, kStripRows * sizeof(float));
        }
      }
      return;
    }
  }
#endif
  for (size_t r = 0; r < n_rows; r += S)
    TransposeStrip<Simd<F>>(W.row(row + r), W.row_stride_bytes, std::min(S, n_rows - r), from, depth,
                            panel + r * depth);
}

template <class F>
void GemmRange(const GemmArgs& a, const float* packed, size_t begin, size_t end, float* panel) {
  StartWithBias(a, begin, end);
  for (size_t row = begin; row < end; row += kWidth) {
    const size_t n_rows = std::min(kWidth, end - row);
    for (size_t from = 0; from < a.W.cols; from += kDepth) {
      const size_t depth = std::min(kDepth, a.W.cols - from);
      FillPanel<F>(a.W, row, n_rows, from, depth, panel);
      MultiplyPanel(a, packed, a.Y.rows, row, n_rows, from, depth, panel);
    }
  }
}

void GemmFloat(const GemmArgs& a, const float* packed, size_t begin, size_t end, std::byte* panel) {
  float* p = reinterpret_cast<float*>(panel);
  with_format(a.W.dtype, [&](FloatFormat auto f) { GemmRange<decltype(f)>(a, packed, begin, end, p); });
}

// Row segments of W decoded to f32: columns [column, column + n) of one row to out[0 .. n).
template <class Weight>
struct FloatSegment {
  static void Decode(const std::byte* row, size_t column, size_t n, float* out) {
    const DF d;
    const size_t N = hn::Lanes(d);
    size_t i = 0;
    for (; i + N <= n; i += N) hn::StoreU(Weight::Load(d, row, column + i), d, out + i);
    for (; i < n; ++i) out[i] = Weight::One(row, column + i);
  }
};

template <class Format>
struct QuantisedSegment {
  static void Decode(const std::byte* row, size_t column, size_t n, float* out) {
    Unpacked u;
    for (size_t at = 0; at < n; at += 256) {
      const size_t m = std::min<size_t>(256, n - at);
      UnpackGroup<Format>(row + (column + at) / Format::kBlockElems * Format::kBlockBytes, m, u);
      for (size_t b = 0; b < m; b += Format::kSub) {
        const float scale = u.scale[b / Format::kSub], min = Format::kHasMin ? u.min[b / Format::kSub] : 0.0f;
        for (size_t j = b; j < b + Format::kSub; ++j) out[at + j] = scale * float(u.q[j]) - min;
      }
    }
  }
};

template <class Segment>
void TransposedRange(const GemmArgs& a, const float* packed, size_t begin, size_t end, float* panel) {
  const size_t S = StripRows();
  StartWithBias(a, begin, end);
  alignas(64) float row[kWidth];
  for (size_t column = begin; column < end; column += kWidth) {
    const size_t n = std::min(kWidth, end - column);
    std::memset(row, 0, sizeof row);
    for (size_t from = 0; from < a.W.rows; from += kDepth) {
      const size_t depth = std::min(kDepth, a.W.rows - from);
      for (size_t k = 0; k < depth; ++k) {
        Segment::Decode(a.W.row(from + k), column, n, row);
        for (size_t c = 0; c < n; c += S) std::memcpy(panel + c * depth + k * S, row + c, S * sizeof(float));
      }
      MultiplyPanel(a, packed, a.Y.rows, column, n, from, depth, panel);
    }
  }
}

void GemmTransposed(const GemmArgs& a, const float* packed, size_t begin, size_t end, std::byte* panel) {
  float* p = reinterpret_cast<float*>(panel);
  with_format(a.W.dtype, [&](auto f) {
    using F = decltype(f);
    using Segment = std::conditional_t<FloatFormat<F>, FloatSegment<Simd<F>>, QuantisedSegment<Simd<F>>>;
    TransposedRange<Segment>(a, packed, begin, end, p);
  });
}

size_t TokensPerTile() { return kTokens; }
size_t PanelBytes() { return kDepth * kWidth * sizeof(float); }

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(GemmFloat);
HWY_EXPORT(GemmTransposed);
HWY_EXPORT(PackTiles);
HWY_EXPORT(TokensPerTile);
HWY_EXPORT(PanelBytes);

size_t gemm_n_tiles(size_t n_tokens) {
  const size_t tile = HWY_DYNAMIC_DISPATCH(TokensPerTile)();
  return (n_tokens + tile - 1) / tile;
}
size_t gemm_packed_floats(size_t n_tokens, size_t n_in) {
  return gemm_n_tiles(n_tokens) * HWY_DYNAMIC_DISPATCH(TokensPerTile)() * n_in;
}
void gemm_pack(MatView<const float> X, size_t begin, size_t end, float* packed) {
  HWY_DYNAMIC_DISPATCH(PackTiles)(X, begin, end, packed);
}
size_t gemm_float_width() { return 32; }
size_t gemm_float_panel_bytes() { return HWY_DYNAMIC_DISPATCH(PanelBytes)(); }
void gemm_float(const GemmArgs& args, const float* packed, size_t begin, size_t end, std::byte* panel) {
  HWY_DYNAMIC_DISPATCH(GemmFloat)(args, packed, begin, end, panel);
}
void gemm_transposed(const GemmArgs& args, const float* packed, size_t begin, size_t end, std::byte* panel) {
  HWY_DYNAMIC_DISPATCH(GemmTransposed)(args, packed, begin, end, panel);
}
}  // namespace hunch
#endif
