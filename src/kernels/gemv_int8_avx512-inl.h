// Rows of quantised weights times a few tokens with vpdpbusd on 512-bit vectors: the loops; kernels/formats/ has what
// differs between formats. No include guard: gemv_int8.cc includes it once per AVX-512 target, inside namespace
// HWY_NAMESPACE and with the VNNI attributes pushed.

namespace vnni {

// The first of the formats whose kernel reads x in the order that F's does.
template <class F, class... G>
DType SamePacking(FormatList<G...>) {
  DType first = F::kFormat.dtype;
  if constexpr (HasRow<F>) {
    const auto is_same = [&]<class H>() {
      if constexpr (HasRow<H>) {
        if (!std::is_same_v<typename Row<F>::Packed, typename Row<H>::Packed>) return false;
        first = H::kFormat.dtype;
        return true;
      } else {
        return false;
      }
    };
    (is_same.template operator()<G>() || ...);
  }
  return first;
}

template <class Packed>
void Pack(const QuantizedX& x, std::byte* out) {
  auto* p = reinterpret_cast<Packed*>(out);
  for (size_t t = 0; t < x.n_tokens; ++t)
    for (size_t i = 0; i < x.n_padded; i += Packed::kElems)
      p++->Fill(x.q_row(t) + i, x.scale_row(t) + i / 32, x.scaled_sum_row(t) + i / 32);
}

// The sums of eight vectors' lanes, each in the order of _mm512_reduce_add_ps: halves are added until one lane is left.
HWY_INLINE __m256 SumLanes(__m512 a, __m512 b, __m512 c, __m512 d, __m512 e, __m512 f, __m512 g, __m512 h) {
  const auto halves = [](__m512 x, __m512 y) HWY_ATTR {  // 8 lanes of x, 8 of y
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
  };
  const auto quarters = [](__m512 x, __m512 y) HWY_ATTR {  // of two results of halves: 4 lanes of each row
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
  };
  const __m512 abcd = quarters(halves(a, b), halves(c, d)), efgh = quarters(halves(e, f), halves(g, h));
  const __m512d lo = _mm512_castps_pd(abcd), hi = _mm512_castps_pd(efgh);
  const __m512 pairs =
      _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(lo, hi)), _mm512_castpd_ps(_mm512_unpackhi_pd(lo, hi)));
  // Each quarter now holds two lanes of one of a..d and two of one of e..h.
  const __m512 sums = _mm512_add_ps(pairs, _mm512_permute_ps(pairs, 0xb1));
  const __m512i order = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 14, 10, 6, 2, 12, 8, 4, 0);
  return _mm512_castps512_ps256(_mm512_permutexvar_ps(order, sums));
}

// Bytes ahead of the reader that are asked for, per row, and rows read side by side for one token.
constexpr size_t kAheadBytes = 1024, kStreams = 8;

// out[r * T + t] = dot(w[r], x[t]) for R rows of n_bytes and T tokens; see gemv_float.cc for `ahead`.
template <class Row, int R, int T>
HWY_NOINLINE void DotTile(const std::byte* const* w, const std::byte* const* ahead,
                          const typename Row::Packed* const* x, size_t n_bytes, float* out) {
  using Packed = typename Row::Packed;
  __m512 acc[R][T];
  HWY_UNROLL(8) for (int r = 0; r < R; ++r) HWY_UNROLL(8) for (int t = 0; t < T; ++t) acc[r][t] = _mm512_setzero_ps();
  const Packed* xg[T];
  for (int t = 0; t < T; ++t) xg[t] = x[t];
  size_t at = 0;
  for (; at + Row::kBytes <= n_bytes; at += Row::kBytes) {
    const size_t offset = at + kAheadBytes;
    const bool inside = offset < n_bytes;
    const std::byte* const* next = inside ? w : ahead;
    const size_t next_offset = inside ? offset : offset - n_bytes;
    HWY_UNROLL(8) for (int r = 0; r < R; ++r) {
      for (size_t line = 0; line < Row::kBytes; line += 64) _mm_prefetch(next[r] + next_offset + line, _MM_HINT_T0);
      Row::template Accumulate<T>(w[r] + at, xg, acc[r]);
    }
    for (int t = 0; t < T; ++t) ++xg[t];
  }
  if constexpr (Packed::kElems < 256) {
    if (at < n_bytes)  // fewer blocks than a group
      HWY_UNROLL(8) for (int r = 0; r < R; ++r) Row::template AccumulateRest<T>(w[r] + at, n_bytes - at, xg, acc[r]);
  }
  if constexpr (R == 8 && T == 1) {
    _mm256_storeu_ps(out,
                     SumLanes(acc[0][0], acc[1][0], acc[2][0], acc[3][0], acc[4][0], acc[5][0], acc[6][0], acc[7][0]));
  } else {
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t) out[r * T + t] = _mm512_reduce_add_ps(acc[r][t]);
  }
}

template <class Row, int R>
void RowGroup(const GemvArgs& a, const QuantizedX& x, const std::byte* packed, size_t i, const std::byte* const* w,
              const std::byte* const* ahead) {
  using Packed = typename Row::Packed;
  const size_t n_groups = x.n_padded / Packed::kElems, n_bytes = row_bytes(a.W.dtype, a.W.cols);
  const auto* first = reinterpret_cast<const Packed*>(packed);
  const Packed* xs[4];
  float out[R * 4];
  for (size_t t = 0; t < x.n_tokens;) {
    const size_t left = x.n_tokens - t;
    const int T = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    for (int k = 0; k < T; ++k) xs[k] = first + (t + size_t(k)) * n_groups;
    if (T == 4) {
      DotTile<Row, R, 4>(w, ahead, xs, n_bytes, out);
    } else if (T == 2) {
      DotTile<Row, R, 2>(w, ahead, xs, n_bytes, out);
    } else {
      DotTile<Row, R, 1>(w, ahead, xs, n_bytes, out);
    }
    for (int r = 0; r < R; ++r)
      for (int k = 0; k < T; ++k)
        a.y[(t + size_t(k)) * a.y_stride + i + size_t(r)] = out[r * T + k] + (a.bias ? a.bias[i + size_t(r)] : 0.0f);
    t += size_t(T);
  }
}

// One token: more rows at once, because more streams draw more from memory.
template <class Row>
void RowGroupOfOneToken(const GemvArgs& a, const QuantizedX& x, const std::byte* packed, size_t i,
                        const std::byte* const* w, const std::byte* const* ahead) {
  const auto* first = reinterpret_cast<const typename Row::Packed*>(packed);
  float out[kStreams];
  DotTile<Row, kStreams, 1>(w, ahead, &first, row_bytes(a.W.dtype, a.W.cols), out);
  for (size_t r = 0; r < kStreams; ++r) a.y[i + r] = out[r] + (a.bias ? a.bias[i + r] : 0.0f);
}

template <class Row>
void GemvRange(const GemvArgs& a, const QuantizedX& x, const std::byte* packed, size_t begin, size_t end) {
  const auto row = [&](size_t i) {
    const size_t at = i < end ? i : end - 1;  // past the end: anything that may be prefetched
    return a.W.data + (a.ids ? a.ids[at] : at) * a.W.row_stride_bytes;
  };
  size_t i = begin;
  const std::byte *w[kStreams], *ahead[kStreams];
  if (x.n_tokens == 1) {
    for (; i + kStreams <= end; i += kStreams) {
      for (size_t r = 0; r < kStreams; ++r) w[r] = row(i + r), ahead[r] = row(i + kStreams + r);
      RowGroupOfOneToken<Row>(a, x, packed, i, w, ahead);
    }
  }
  for (; i + 4 <= end; i += 4) {
    for (size_t r = 0; r < 4; ++r) w[r] = row(i + r), ahead[r] = row(i + 4 + r);
    RowGroup<Row, 4>(a, x, packed, i, w, ahead);
  }
  for (; i < end; ++i) {
    w[0] = row(i), ahead[0] = row(i + 1);
    RowGroup<Row, 1>(a, x, packed, i, w, ahead);
  }
}

}  // namespace vnni
