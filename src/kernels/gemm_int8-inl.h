// The int8 GEMM for one set of instructions. No include guard: gemm_int8.cc includes it inside
// namespace HWY_NAMESPACE, once as the target is (HUNCH_VNNI 0, namespace plain) and, on x86, once
// with vpdpbusd (HUNCH_VNNI 1, namespace vnni).
//
// Lanes are rows. A panel holds kPanelVectors * Lanes rows and kPanelDepth columns of W as
//   q      [depth / 4][rows][4]   so that four columns of x, broadcast, meet four columns of each row
//   scale  [depth / sub][rows]    sub = 32, or 16 in some k-quants
//   min    [depth / sub][rows]    formats with minima
// and stays in L1 while all tokens pass by, kTokens at a time, whose sums stay in registers for the
// depth of the panel. 8 dot instructions of a block of 32 share one conversion and one f32 FMA.

#if HUNCH_VNNI
namespace vnni {
#else
namespace plain {
#endif

#if HUNCH_INT8_SIMD
using D32 = hn::ScalableTag<int32_t>;
using DF = hn::RebindToFloat<D32>;
using D8 = hn::Repartition<int8_t, D32>;
using V32 = hn::Vec<D32>;
using VF = hn::Vec<DF>;
using V8 = hn::Vec<D8>;

#if HUNCH_VNNI
// vpdpbusd multiplies unsigned by signed bytes: panels hold w + 128, and the integer sums of a block
// start at -128 * sum(x).
constexpr int32_t kOffset = 128;
HWY_INLINE V32 Dot(V32 acc, V8 w, V8 x) {
#if HWY_TARGET <= HWY_AVX3
  return V32{_mm512_dpbusd_epi32(acc.raw, w.raw, x.raw)};
#else
  return V32{_mm256_dpbusd_avx_epi32(acc.raw, w.raw, x.raw)};
#endif
}
#else
constexpr int32_t kOffset = 0;
HWY_INLINE V32 Dot(V32 acc, V8 w, V8 x) { return DotSigned(acc, w, x); }
#endif

constexpr size_t kPanelVectors = 2;
// 2 vectors of sums, integer and f32, for each token: 24 of 32 registers, or 8 of 16.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM
constexpr int kTokens = 6;
#else
constexpr int kTokens = 2;
#endif
HWY_INLINE size_t PanelRows() { return kPanelVectors * hn::Lanes(D32()); }

#else  // plain loops over a panel of one row
constexpr int32_t kOffset = 0;
constexpr int kTokens = 2;
HWY_INLINE size_t PanelRows() { return 8; }
#endif

constexpr size_t kPanelDepth = 512;  // x 32 rows: 16 KB of codes and 2 to 4 KB of scales

struct Panel {
  int8_t* q;
  float *scale, *min;  // min: unused where there are none
  explicit Panel(std::byte* memory)
      : q(reinterpret_cast<int8_t*>(memory)),
        scale(reinterpret_cast<float*>(memory + kPanelDepth * PanelRows())),
        min(scale + kPanelDepth / 16 * PanelRows()) {}
  static size_t Bytes() { return PanelRows() * (kPanelDepth + 2 * (kPanelDepth / 16) * sizeof(float)); }
};

// Columns [from, from + depth) of rows [row, row + n_rows) of W; missing rows of the panel are zero.
template <class Format>
void FillPanel(const WeightView& W, size_t row, size_t n_rows, size_t from, size_t depth, const Panel& panel) {
  const size_t R = PanelRows();
  Unpacked u[4];
  std::memset(u, 0, sizeof u);
  for (size_t r = 0; r < R; r += 4) {
    for (size_t at = 0; at < depth; at += 256) {
      const size_t n = std::min<size_t>(256, depth - at);
      for (size_t i = 0; i < 4; ++i) {
        if (r + i < n_rows) {
          const std::byte* blocks = W.row(row + r + i) + (from + at) / Format::kBlockElems * Format::kBlockBytes;
          UnpackGroup<Format>(blocks, n, u[i]);
        } else {
          std::memset(&u[i], 0, sizeof u[i]);
        }
        for (size_t j = 0; j < n / Format::kSub; ++j) panel.scale[(at / Format::kSub + j) * R + r + i] = u[i].scale[j];
        if (Format::kHasMin)
          for (size_t j = 0; j < n / Format::kSub; ++j) panel.min[(at / Format::kSub + j) * R + r + i] = u[i].min[j];
      }
      auto* out = reinterpret_cast<uint32_t*>(panel.q) + at / 4 * R + r;
#if HUNCH_INT8_SIMD
      const Four d4;
      const auto flip = hn::Set(d4, kOffset ? 0x80808080u : 0u);
      const auto load = [&](size_t i, size_t k) HWY_ATTR {
        return hn::Xor(hn::Load(d4, reinterpret_cast<const uint32_t*>(u[i].q + k)), flip);
      };
      for (size_t k = 0; k < n; k += 16, out += 4 * R)
        Transpose4x4(load(0, k), load(1, k), load(2, k), load(3, k), out, R);
#else
      for (size_t k = 0; k < n; k += 4, out += R)
        for (size_t i = 0; i < 4; ++i) std::memcpy(out + i, u[i].q + k, 4);
#endif
    }
  }
}

#if HUNCH_INT8_SIMD
// The same from strips. Columns beyond W's, which fill the last block up, are zeros.
template <class F>
void FillPanelFromStrips(const WeightView& W, size_t row, size_t from, size_t depth, const Panel& panel) {
  constexpr StripCodes s = StripShape<F>::kCodes;
  constexpr size_t kNSub = strip::StripScales<F>::kNSub;
  const size_t R = PanelRows();
  const auto flip = hn::Set(strip::DU8(), uint8_t(kOffset ? 128 - s.offset : 0 - s.offset));
  strip::StripScales<F> scales;
  for (size_t r = 0; r < R; r += kStripRows) {
    if (row + r >= W.rows) {
      for (size_t k = 0; k < depth / 4; ++k) std::memset(panel.q + 4 * (k * R + r), 0, 4 * kStripRows);
      for (size_t k = 0; k < depth / Simd<F>::kSub; ++k) {
        std::memset(panel.scale + k * R + r, 0, kStripRows * sizeof(float));
        std::memset(panel.min + k * R + r, 0, kStripRows * sizeof(float));
      }
      continue;
    }
    const std::byte* group =
        W.strips + (row + r) / kStripRows * W.strip_stride_bytes + from / s.columns * s.group_bytes();
    for (size_t at = 0; at < depth; at += s.columns, group += s.group_bytes()) {
      scales.Read(group);
      for (size_t b = 0; b < s.n_blocks() && at + 32 * b < depth; ++b) {
        const size_t block = at / 32 + b;
        const std::byte* codes = group + s.head_bytes + b * s.block_bytes();
        for (size_t v = 0; v < strip::kSlices; ++v) {
          strip::VU8 u[8];
          strip::Codes<s.bits>(codes + v * strip::kSliceBytes, u);
          for (size_t k = 0; k < 8; ++k)
            hn::StoreU(hn::Add(u[k], flip), strip::DU8(),
                       reinterpret_cast<uint8_t*>(panel.q) + 4 * ((8 * block + k) * R + r + v * strip::kLanes));
        }
        for (size_t v = 0; v < kStripRows; v += strip::kLanes)
          for (size_t sub = 0; sub < kNSub; ++sub) {
            const size_t i = b * kNSub + sub, to = (block * kNSub + sub) * R + r + v;
            hn::StoreU(scales.Scale(i, v), strip::DF(), panel.scale + to);
            if constexpr (F::kFormat.has_min) hn::StoreU(scales.Min(i, v), strip::DF(), panel.min + to);
          }
      }
    }
  }
}
#endif

// The x side of a tile of kTokens tokens, at the panel's first column.
struct TokenTile {
  const int8_t* q[kTokens];
  const float* scale[kTokens];
  const float* scaled_sum[kTokens];  // per kSub columns: what a minimum is multiplied with
  const int32_t* start[kTokens];     // per kSub columns: -128 * sum of q
  float* y[kTokens];                 // first of the panel's rows
  const float* begin;                // where sums begin, of each row; null: at y
};

#if HUNCH_INT8_SIMD
// y[t][0 .. rows) = its beginning + panel . x[t] over n_blocks of 32 columns for the first M tokens of the tile.
template <class Format, int M>
HWY_NOINLINE void MultiplyTile(const Panel& panel, const TokenTile& x, size_t n_blocks) {
  const D32 d32;
  const DF df;
  const D8 d8;
  const size_t N = hn::Lanes(d32);
  constexpr size_t kSub = Format::kSub, kSteps = kSub / 4, kNSub = 32 / kSub;
  VF sum0[M], sum1[M];
  for (int t = 0; t < M; ++t) {
    const float* begin = x.begin ? x.begin : x.y[t];
    sum0[t] = hn::LoadU(df, begin);
    sum1[t] = hn::LoadU(df, begin + N);
  }
  const int8_t* w = panel.q;
  const float *scale = panel.scale, *min = panel.min;
  for (size_t b = 0; b < n_blocks; ++b) {
    for (size_t s = 0; s < kNSub; ++s) {
      V32 dot0[M], dot1[M];
      for (int t = 0; t < M; ++t) {
        dot0[t] = dot1[t] = kOffset == 0 ? hn::Zero(d32) : hn::Set(d32, x.start[t][kNSub * b + s]);
      }
      for (size_t k = 0; k < kSteps; ++k, w += 8 * N) {
        const V8 w0 = hn::Load(d8, w), w1 = hn::Load(d8, w + 4 * N);
        for (int t = 0; t < M; ++t) {
          int32_t four;
          std::memcpy(&four, x.q[t] + 32 * b + kSub * s + 4 * k, 4);
          const V8 xv = hn::BitCast(d8, hn::Set(d32, four));
          dot0[t] = Dot(dot0[t], w0, xv);
          dot1[t] = Dot(dot1[t], w1, xv);
        }
      }
      const VF scale0 = hn::Load(df, scale), scale1 = hn::Load(df, scale + N);
      scale += 2 * N;
      for (int t = 0; t < M; ++t) {
        const VF xs = hn::Set(df, x.scale[t][b]);
        sum0[t] = hn::MulAdd(hn::ConvertTo(df, dot0[t]), hn::Mul(scale0, xs), sum0[t]);
        sum1[t] = hn::MulAdd(hn::ConvertTo(df, dot1[t]), hn::Mul(scale1, xs), sum1[t]);
      }
      if (Format::kHasMin) {
        const VF min0 = hn::Load(df, min), min1 = hn::Load(df, min + N);
        min += 2 * N;
        for (int t = 0; t < M; ++t) {
          const VF xs = hn::Set(df, x.scaled_sum[t][kNSub * b + s]);
          sum0[t] = hn::NegMulAdd(min0, xs, sum0[t]);
          sum1[t] = hn::NegMulAdd(min1, xs, sum1[t]);
        }
      }
    }
  }
  for (int t = 0; t < M; ++t) {
    hn::StoreU(sum0[t], df, x.y[t]);
    hn::StoreU(sum1[t], df, x.y[t] + N);
  }
}
#else
template <class Format, int M>
HWY_NOINLINE void MultiplyTile(const Panel& panel, const TokenTile& x, size_t n_blocks) {
  const size_t R = PanelRows();
  for (int t = 0; t < M; ++t)
    for (size_t r = 0; r < R; ++r) {
      float sum = x.begin ? x.begin[r] : x.y[t][r];
      for (size_t at = 0; at < n_blocks * 32; at += Format::kSub) {
        int32_t dot = 0;
        for (size_t i = at; i < at + Format::kSub; ++i)
          dot += int32_t(panel.q[(i / 4 * R + r) * 4 + i % 4]) * x.q[t][i];
        sum += float(dot) * (panel.scale[at / Format::kSub * R + r] * x.scale[t][at / 32]);
        if (Format::kHasMin) sum -= panel.min[at / Format::kSub * R + r] * x.scaled_sum[t][at / Format::kSub];
      }
      x.y[t][r] = sum;
    }
}
#endif

template <class F, class Format = Simd<F>>
void GemmRange(const GemmArgs& a, const QuantizedX& x, size_t begin, size_t end, std::byte* memory) {
  const Panel panel(memory);
  const size_t R = PanelRows();
  alignas(64) float partial[kTokens][64], bias[64];  // y of a panel with fewer rows than R; what its sums begin with
  for (size_t row = begin; row < end; row += R) {
    const size_t n_rows = std::min(R, end - row);
    std::memset(bias, 0, sizeof bias);
    if (a.bias) std::copy_n(a.bias + row, n_rows, bias);
    for (size_t from = 0; from < a.W.cols; from += kPanelDepth) {
      const size_t depth = std::min(kPanelDepth, a.W.cols - from);
#if HUNCH_INT8_SIMD
      if (a.W.strips && R >= kStripRows) {
        FillPanelFromStrips<F>(a.W, row, from, depth, panel);
      } else {
        FillPanel<Format>(a.W, row, n_rows, from, depth, panel);
      }
#else
      FillPanel<Format>(a.W, row, n_rows, from, depth, panel);
#endif
      for (size_t t = 0; t < x.n_tokens; t += kTokens) {
        const int n = int(std::min<size_t>(kTokens, x.n_tokens - t));
        TokenTile tile;
        tile.begin = from == 0 ? bias : nullptr;  // (a pass that wrote biases to Y would wait for memory)
        for (int k = 0; k < kTokens; ++k) {
          const size_t token = t + size_t(k < n ? k : 0);
          tile.q[k] = x.q_row(token) + from;
          tile.scale[k] = x.scale_row(token) + from / 32;
          tile.scaled_sum[k] =
              (Format::kSub == 16 ? x.scaled_sum16_row(token) : x.scaled_sum_row(token)) + from / Format::kSub;
          tile.start[k] = (Format::kSub == 16 ? x.start16_row(token) : x.start32_row(token)) + from / Format::kSub;
          tile.y[k] = a.Y.data + token * a.Y.row_stride + row;
          if (n_rows < R || k >= n) {  // k >= n: a repeated token whose result is dropped
            std::memset(partial[k], 0, sizeof partial[k]);
            if (!tile.begin) std::memcpy(partial[k], tile.y[k], n_rows * sizeof(float));
            tile.y[k] = partial[k];
          }
        }
        if (n > 4) {
          MultiplyTile<Format, kTokens>(panel, tile, depth / 32);
        } else if (n > 2) {
          MultiplyTile < Format, kTokens<4 ? kTokens : 4>(panel, tile, depth / 32);
        } else {
          MultiplyTile<Format, 2>(panel, tile, depth / 32);
        }
        if (n_rows < R)
          for (int k = 0; k < n; ++k)
            std::memcpy(a.Y.data + (t + size_t(k)) * a.Y.row_stride + row, partial[k], n_rows * sizeof(float));
      }
    }
  }
}

void Gemm(const GemmArgs& a, const QuantizedX& x, size_t begin, size_t end, std::byte* memory) {
  with_format(a.W.dtype, [&](QuantisedFormat auto f) { GemmRange<decltype(f)>(a, x, begin, end, memory); });
}

}  // namespace vnni or plain
