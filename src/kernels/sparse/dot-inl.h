// Products of sparse strips of q8_0 and q4_0, and their expansion to dense ones, for one set of instructions. No
// include guard: as expand-inl.h. Sums are made as in strips/dot-inl.h, in the same order: the bits are those of dense
// strips.

#if HUNCH_VNNI
namespace vnni_sparse {
#else
namespace plain_sparse {
#endif
using namespace strip;  // NOLINT

#include "kernels/sparse/expand-inl.h"
#include "kernels/strips/codes_dot-inl.h"

// y[t][row] += the strip's rows . x[t], for M tokens.
template <class F, bool kTwo, size_t M>
HWY_NOINLINE void MultiplySparse(const SparseStrips& W, const std::byte* strip, StripPrefetch ahead, const Tile& x) {
  constexpr StripCodes s = StripShape<F>::kCodes;
  const D32 d32;
  const DF df;
  VF sum[kSlices][M];
  HWY_UNROLL(4)
  for (size_t v = 0; v < kSlices; ++v)
    HWY_UNROLL(8) for (size_t t = 0; t < M; ++t) sum[v][t] = hn::LoadU(df, x.y[t] + v * kLanes);
  const size_t n_spans = W.cols / W.span, n_blocks = W.span / 32;
  Expanded<F, kTwo> block(strip, n_spans * n_blocks);
  for (size_t span = 0, at = 0; span < n_spans; ++span) {
    const std::byte* scales = block.TakeScales();
    VF scale[kSlices];
    for (size_t v = 0; v < kSlices; ++v) scale[v] = Halves(scales + 2 * v * kLanes);
    for (size_t b = 0; b < n_blocks; ++b, ++at) {
      const std::byte* begin = block.at();
      block.Next();
      AskAhead(ahead, begin, size_t(block.at() - begin));
      HWY_UNROLL(4) for (size_t v = 0; v < kSlices; ++v) {
        VU8 u[8];
        block.Get(v, u);
        V32 dot[M];
        HWY_UNROLL(8) for (size_t t = 0; t < M; ++t) dot[t] = Start<s.offset>(&x.start[t][at]);
        if constexpr (M == 1) {  // two chains: one would wait for itself
          V32 other = hn::Zero(d32);
          HWY_UNROLL(4) for (size_t k = 0; k < 8; k += 2) {
            dot[0] = Dot<s.value_bits()>(dot[0], u[k], Four(x.q[0] + 32 * at + 4 * k));
            other = Dot<s.value_bits()>(other, u[k + 1], Four(x.q[0] + 32 * at + 4 * k + 4));
          }
          dot[0] = hn::Add(dot[0], other);
        } else {
          HWY_UNROLL(8) for (size_t k = 0; k < 8; ++k) {
            HWY_UNROLL(8)
            for (size_t t = 0; t < M; ++t) dot[t] = Dot<s.value_bits()>(dot[t], u[k], Four(x.q[t] + 32 * at + 4 * k));
          }
        }
        HWY_UNROLL(8)
        for (size_t t = 0; t < M; ++t)
          sum[v][t] = hn::MulAdd(hn::ConvertTo(df, dot[t]), hn::Mul(scale[v], hn::Set(df, x.scale[t][at])), sum[v][t]);
      }
    }
  }
  HWY_UNROLL(4)
  for (size_t v = 0; v < kSlices; ++v)
    HWY_UNROLL(8) for (size_t t = 0; t < M; ++t) hn::StoreU(sum[v][t], df, x.y[t] + v * kLanes);
}

#if HUNCH_EXPANDS

// The block at p, of columns 32 at .., of two of four, times x: added to the sums of M tokens. Weights stay as they
// lie, and of each eight columns of x every row takes its four: some half of the instructions that placing the weights
// takes. The more tokens, the less that saves.
template <class F, size_t M>
HWY_INLINE void AddPairs(const Pairs<F>& pairs, const std::byte* p, size_t at, __m512 scale, StripPrefetch ahead,
                         const Tile& x, __m512 (&sum)[M]) {
  AskAhead(ahead, p, Pairs<F>::kBlockBytes);
  __m512i dot[M], of_offset[M];
  for (size_t t = 0; t < M; ++t) dot[t] = of_offset[t] = _mm512_setzero_si512();
  HWY_UNROLL(4) for (size_t g = 0; g < 4; ++g) {
    const __m512i which = pairs.Which(p, g), u = pairs.Values(p, g);
    HWY_UNROLL(2) for (size_t t = 0; t < M; ++t) {
      const __m512i taken = pairs.Take(x.q[t] + 32 * at + 8 * g, which);
      dot[t] = _mm512_dpbusd_epi32(dot[t], u, taken);
      of_offset[t] = _mm512_dpbusd_epi32(of_offset[t], pairs.offset, taken);
    }
  }
  for (size_t t = 0; t < M; ++t)
    sum[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(dot[t], of_offset[t])),
                             _mm512_mul_ps(scale, _mm512_set1_ps(x.scale[t][at])), sum[t]);
}

// Where a reader of two of four is, and the scales of its span.
template <class F>
struct PairsReader {
  const std::byte* p;
  size_t left = 0;  // blocks of the span
  __m512 scale = _mm512_setzero_ps();

  // The next block, its scales read.
  HWY_INLINE const std::byte* Next(size_t of_span) {
    if (left == 0) {
      scale = Halves(p).raw;
      p += kSpanScaleBytes;
      left = of_span;
    }
    --left;
    const std::byte* block = p;
    p += Pairs<F>::kBlockBytes;
    return block;
  }
};

// As MultiplySparse(), of two of four, kBlocks blocks a turn.
template <class F, size_t M, size_t kBlocks>
HWY_NOINLINE void MultiplyPairs(const SparseStrips& W, const std::byte* strip, StripPrefetch ahead, const Tile& x) {
  const Pairs<F> pairs;
  __m512 sum[M];
  for (size_t t = 0; t < M; ++t) sum[t] = _mm512_loadu_ps(x.y[t]);
  const size_t n_blocks = W.cols / 32, of_span = W.span / 32;
  PairsReader<F> reader{strip};
  size_t at = 0;
  if constexpr (kBlocks > 1) {
    for (; at + kBlocks <= n_blocks; at += kBlocks) {
      HWY_UNROLL(16) for (size_t i = 0; i < kBlocks; ++i) {
        const std::byte* block = reader.Next(of_span);
        AddPairs<F, M>(pairs, block, at + i, reader.scale, ahead, x, sum);
      }
    }
  }
  for (; at < n_blocks; ++at) {
    const std::byte* block = reader.Next(of_span);
    AddPairs<F, M>(pairs, block, at, reader.scale, ahead, x, sum);
  }
  for (size_t t = 0; t < M; ++t) _mm512_storeu_ps(x.y[t], sum[t]);
}

#endif

// For up to two tokens.
template <class F, bool kTwo, size_t M>
HWY_INLINE void MultiplyFew(const SparseStrips& W, const std::byte* strip, StripPrefetch ahead, const Tile& x) {
#if HUNCH_EXPANDS
  constexpr size_t kBlocksOfLongTurn = 16;  // see strips/dot-inl.h
  if constexpr (kTwo)
    return ahead.long_turns ? MultiplyPairs<F, M, kBlocksOfLongTurn>(W, strip, ahead, x)
                            : MultiplyPairs<F, M, 1>(W, strip, ahead, x);
#endif
  MultiplySparse<F, kTwo, M>(W, strip, ahead, x);
}

template <class F, bool kTwo>
void DotRange(const SparseStrips& W, const QuantizedX& x, const float* bias, MatView<float> Y, size_t begin,
              size_t end) {
  const StripPrefetch ahead = sparse_prefetch();
  alignas(64) float y[kMostStripTokens][kStripRows];
  for (size_t i = begin; i < end; ++i) {
    const std::byte* strip = W.data + W.offsets[i];
    const size_t row = i * kStripRows, n_rows = std::min(kStripRows, W.rows - row);
    for (size_t first = 0; first < x.n_tokens;) {
      const size_t n = std::min(x.n_tokens - first, kMostStripTokens);
      const size_t n_computed = n <= 2 ? n : n <= 4 ? 4 : kMostStripTokens;
      Tile tile;
      for (size_t t = 0; t < n_computed; ++t) {
        const size_t token = first + std::min(t, n - 1);  // past n: repeated, and its result dropped
        tile.q[t] = x.q_row(token);
        tile.scale[t] = x.scale_row(token);
        tile.start[t] = x.start32_row(token);
        tile.y[t] = y[t];
        for (size_t r = 0; r < kStripRows; ++r) y[t][r] = bias && r < n_rows ? bias[row + r] : 0.0f;
      }
      if (n_computed == 1) {
        MultiplyFew<F, kTwo, 1>(W, strip, ahead, tile);
      } else if (n_computed == 2) {
        MultiplyFew<F, kTwo, 2>(W, strip, ahead, tile);
      } else if constexpr (kMostStripTokens > 4) {
        n_computed == 4 ? MultiplySparse<F, kTwo, 4>(W, strip, ahead, tile)
                        : MultiplySparse<F, kTwo, kMostStripTokens>(W, strip, ahead, tile);
      }
      for (size_t t = 0; t < n; ++t) std::memcpy(Y.data + (first + t) * Y.row_stride + row, y[t], n_rows * 4);
      first += n;
    }
  }
}

// Strip i as a dense one of the same format (formats/strip_shape.h).
template <class F, bool kTwo>
void ExpandStrip(const SparseStrips& W, size_t i, std::byte* out) {
  constexpr StripCodes s = StripShape<F>::kCodes;
  static_assert(s.columns == 64 && s.head_bytes == 64);
  const size_t n_blocks = W.cols / 32;
  Expanded<F, kTwo> block(W.data + W.offsets[i], n_blocks);
  const std::byte* scales = nullptr;
  for (size_t b = 0; b < n_blocks; ++b) {
    std::byte* group = out + b / 2 * s.group_bytes();
    if (32 * b % W.span == 0) scales = block.TakeScales();
    std::memcpy(group + b % 2 * 32, scales, kSpanScaleBytes);
    block.Next();
    auto* to = reinterpret_cast<uint8_t*>(group) + s.head_bytes + b % 2 * s.block_bytes();
    for (size_t v = 0; v < kSlices; ++v, to += kSliceBytes) {
      VU8 u[8];
      block.Get(v, u);
      if constexpr (s.bits == 8) {
        for (size_t k = 0; k < 8; ++k) hn::StoreU(u[k], DU8(), to + 64 * k);
      } else {
        for (size_t k = 0; k < 4; ++k) hn::StoreU(hn::Or(u[k], LeftMasked<4>(u[k + 4], 0xf0)), DU8(), to + 64 * k);
      }
    }
  }
  if (n_blocks % 2) {  // the last group is padded
    std::byte* group = out + n_blocks / 2 * s.group_bytes();
    std::memset(group + 32, 0, 32);
    std::memset(group + s.head_bytes + s.block_bytes(), 0, s.block_bytes());
  }
}

// call(F, std::bool_constant<two of four>)
template <class Call>
void WithForm(const SparseStrips& W, const Call& call) {
  if (W.dtype == DType::kQ8_0) {
    W.two_of_four ? call(format::Q8_0(), std::true_type()) : call(format::Q8_0(), std::false_type());
  } else {
    W.two_of_four ? call(format::Q4_0(), std::true_type()) : call(format::Q4_0(), std::false_type());
  }
}

void Dot(const SparseStrips& W, const QuantizedX& x, const float* bias, MatView<float> Y, size_t begin, size_t end) {
  WithForm(W, [&](auto f, auto two) { DotRange<decltype(f), two.value>(W, x, bias, Y, begin, end); });
}

void Expand(const SparseStrips& W, size_t i, std::byte* out) {
  WithForm(W, [&](auto f, auto two) { ExpandStrip<decltype(f), two.value>(W, i, out); });
}

}  // namespace vnni_sparse or plain_sparse
