// Rows of quantised weights times a few tokens with vpdpbusd on 512-bit vectors.
// No include guard: gemv_int8.cc includes it once per AVX-512 target, inside namespace
// HWY_NAMESPACE and with the VNNI attributes pushed.
//
// Every format multiplies unsigned codes u = w + offset by x: w.x = u.x - offset * sum(x). The lane
// sums of x, times -offset, are laid beside x once per call and start the integer accumulators, so
// that the offset costs nothing per row. x lies in the order in which a format's nibbles unpack.

namespace vnni {

struct alignas(64) PackedQ8_0 {  // 2 blocks
  static constexpr size_t kElems = 64;
  int8_t x[64];
  int32_t start[16];
  float scale[16];
};
struct alignas(64) PackedQ4_0 {  // 4 blocks: their low halves, then their high halves
  static constexpr size_t kElems = 128;
  int8_t low[64], high[64];
  int32_t start[16];
  float scale[16];
};
struct alignas(64) PackedQ4_K {  // 1 block: sub-blocks 0 2 | 1 3 | 4 6 | 5 7
  static constexpr size_t kElems = 256;
  int8_t x[4][64];
  float scale[16];  // 8 scales, then 8 times -scale * sum(x), for the minima
};
struct alignas(64) PackedQ6_K {  // 1 block, in order
  static constexpr size_t kElems = 256;
  int8_t x[4][64];
  int32_t start[4][16];
  float scale[16];  // of each sub-block of 16
};

HWY_INLINE void StartSums(const int8_t* x, int32_t offset, int32_t* start) {
  for (int i = 0; i < 16; ++i) start[i] -= offset * (x[4 * i] + x[4 * i + 1] + x[4 * i + 2] + x[4 * i + 3]);
}

HWY_INLINE void PackGroup(const int8_t* q, const float* scale, const float*, PackedQ8_0& p) {
  std::memcpy(p.x, q, 64);
  std::memset(p.start, 0, sizeof p.start);
  StartSums(p.x, 128, p.start);
  for (int i = 0; i < 16; ++i) p.scale[i] = scale[i / 8];
}
HWY_INLINE void PackGroup(const int8_t* q, const float* scale, const float*, PackedQ4_0& p) {
  for (int b = 0; b < 4; ++b) {
    std::memcpy(p.low + 16 * b, q + 32 * b, 16);
    std::memcpy(p.high + 16 * b, q + 32 * b + 16, 16);
  }
  std::memset(p.start, 0, sizeof p.start);
  StartSums(p.low, 8, p.start);
  StartSums(p.high, 8, p.start);
  for (int i = 0; i < 16; ++i) p.scale[i] = scale[i / 4];
}
HWY_INLINE void PackGroup(const int8_t* q, const float* scale, const float* scaled_sum, PackedQ4_K& p) {
  constexpr int kOrder[8] = {0, 2, 1, 3, 4, 6, 5, 7};
  for (int j = 0; j < 8; ++j) std::memcpy(p.x[0] + 32 * j, q + 32 * kOrder[j], 32);
  for (int j = 0; j < 8; ++j) p.scale[j] = scale[j];
  for (int j = 0; j < 8; ++j) p.scale[8 + j] = -scaled_sum[j];
}
HWY_INLINE void PackGroup(const int8_t* q, const float* scale, const float*, PackedQ6_K& p) {
  std::memcpy(p.x, q, 256);
  std::memset(p.start, 0, sizeof p.start);
  for (int i = 0; i < 4; ++i) StartSums(p.x[i], 32, p.start[i]);
  for (int j = 0; j < 16; ++j) p.scale[j] = scale[j / 2];
}

template <class Packed>
void Pack(const QuantizedX& x, std::byte* out) {
  auto* p = reinterpret_cast<Packed*>(out);
  for (size_t t = 0; t < x.n_tokens; ++t)
    for (size_t i = 0; i < x.n_padded; i += Packed::kElems)
      PackGroup(x.q_row(t) + i, x.scale_row(t) + i / 32, x.scaled_sum_row(t) + i / 32, *p++);
}

HWY_INLINE __m512i Load512(const void* p) { return _mm512_loadu_si512(p); }
HWY_INLINE __m512 ScaleFromWords(__m512i words, __m512i which) {
  return _mm512_cvtph_ps(_mm512_castsi512_si256(_mm512_permutexvar_epi16(which, words)));
}

// Accumulate adds the products of one group of weights with that of T tokens: x[t] is a token's group.
struct RowQ8_0 {
  using Packed = PackedQ8_0;
  static constexpr size_t kBytes = 2 * sizeof(BlockQ8_0);  // of the weights of one group
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i flip = _mm512_set1_epi8(-128);
    const __m512i codes =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 2))),
                           _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 36)), 1);
    const __m512i u = _mm512_xor_si512(codes, flip);
    // The f16 scales are words 0 and 17 of the group.
    const __m512i which =
        _mm512_castsi256_si512(_mm256_set_epi16(17, 17, 17, 17, 17, 17, 17, 17, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m512 scale = ScaleFromWords(Load512(w), which);
    for (int t = 0; t < T; ++t) {
      const __m512i dots = _mm512_dpbusd_epi32(Load512(x[t]->start), u, Load512(x[t]->x));
      acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_mul_ps(scale, _mm512_load_ps(x[t]->scale)), acc[t]);
    }
  }
  // One block, n bytes.
  template <int T>
  static HWY_INLINE void AccumulateRest(const std::byte* w, size_t n, const Packed* const* x, __m512* acc) {
    alignas(64) std::byte rest[128] = {};
    _mm512_store_si512(rest, _mm512_maskz_loadu_epi16((uint32_t{1} << n / 2) - 1, w));
    Accumulate<T>(rest, x, acc);
  }
};

struct RowQ4_0 {
  using Packed = PackedQ4_0;
  static constexpr size_t kBytes = 4 * sizeof(BlockQ4_0);  // of the weights of one group
  // In words: the scales of a group stand at 0, 9, 18 and 27, each followed by 8 words of codes.
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i words = Load512(w);  // all but the end of the last block
    Add<T>(words, _mm512_inserti32x4(Codes(words), _mm_loadu_si128(reinterpret_cast<const __m128i*>(w + 56)), 3), x,
           acc);
  }
  static HWY_INLINE __m512i Codes(__m512i words) {
    const __m512i which = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 26, 25, 24, 23, 22, 21, 20, 19, 17, 16, 15, 14, 13,
                                           12, 11, 10, 8, 7, 6, 5, 4, 3, 2, 1);
    return _mm512_maskz_permutexvar_epi16(0x00ffffff, which, words);
  }
  // Up to three blocks, n bytes; the missing ones are zero.
  template <int T>
  static HWY_INLINE void AccumulateRest(const std::byte* w, size_t n, const Packed* const* x, __m512* acc) {
    const __m512i words = _mm512_maskz_loadu_epi16((uint32_t{1} << n / 2) - 1, w);
    Add<T>(words, Codes(words), x, acc);
  }
  template <int T>
  static HWY_INLINE void Add(__m512i words, __m512i v, const Packed* const* x, __m512* acc) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i low = _mm512_and_si512(v, nibble), high = _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble);
    const __m512i which =
        _mm512_castsi256_si512(_mm256_set_epi16(27, 27, 27, 27, 18, 18, 18, 18, 9, 9, 9, 9, 0, 0, 0, 0));
    const __m512 scale = ScaleFromWords(words, which);
    for (int t = 0; t < T; ++t) {
      __m512i dots = _mm512_dpbusd_epi32(Load512(x[t]->start), low, Load512(x[t]->low));
      dots = _mm512_dpbusd_epi32(dots, high, Load512(x[t]->high));
      acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_mul_ps(scale, _mm512_load_ps(x[t]->scale)), acc[t]);
    }
  }
};

#include "kernels/scales_k_avx512-inl.h"

// Adds the dots of the four code vectors with x, scaled by sub-block, and the minima.
template <int T>
HWY_INLINE void AccumulateK(const __m512i (&u)[4], __m512 weight_scale, const PackedQ4_K* const* x, __m512* acc) {
  const __m512i first = _mm512_set_epi32(2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0);
  for (int t = 0; t < T; ++t) {
    const __m512 scale = _mm512_mul_ps(weight_scale, _mm512_load_ps(x[t]->scale));
    acc[t] = _mm512_mask_add_ps(acc[t], 0xff00, acc[t], scale);
    for (int i = 0; i < 4; ++i) {
      constexpr int kFirst[4] = {0, 1, 4, 5};
      const __m512i dots = _mm512_dpbusd_epi32(_mm512_setzero_si512(), u[i], Load512(x[t]->x[i]));
      const __m512i which = _mm512_add_epi32(first, _mm512_set1_epi32(kFirst[i]));
      acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_permutexvar_ps(which, scale), acc[t]);
    }
  }
}

struct RowQ4_K {
  using Packed = PackedQ4_K;
  static constexpr size_t kBytes = sizeof(BlockQ4_K);  // of the weights of one group
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i v0 = Load512(w + 16), v1 = Load512(w + 80);
    const __m512i u[4] = {_mm512_and_si512(v0, nibble), _mm512_and_si512(_mm512_srli_epi16(v0, 4), nibble),
                          _mm512_and_si512(v1, nibble), _mm512_and_si512(_mm512_srli_epi16(v1, 4), nibble)};
    AccumulateK<T>(u, ScalesK(w), x, acc);
  }
};

struct RowQ5_K {
  using Packed = PackedQ4_K;
  static constexpr size_t kBytes = sizeof(BlockQ5_K);  // of the weights of one group
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i nibble = _mm512_set1_epi8(15), bit4 = _mm512_set1_epi8(16);
    const __m512i v0 = Load512(w + 48), v1 = Load512(w + 112);
    const __m512i fifth = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 16)));
    // Bit j of `fifth` belongs to sub-block j; the halves of a code vector are sub-blocks s and s + 2.
    const auto add_bit = [&](__m512i u, int s) HWY_ATTR {
      const __m512i bits = _mm512_inserti64x4(_mm512_set1_epi8(char(1 << s)), _mm256_set1_epi8(char(4 << s)), 1);
      return _mm512_mask_or_epi64(u, 0xff, u, _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(fifth, bits), bit4));
    };
    const __m512i u[4] = {
        add_bit(_mm512_and_si512(v0, nibble), 0), add_bit(_mm512_and_si512(_mm512_srli_epi16(v0, 4), nibble), 1),
        add_bit(_mm512_and_si512(v1, nibble), 4), add_bit(_mm512_and_si512(_mm512_srli_epi16(v1, 4), nibble), 5)};
    AccumulateK<T>(u, ScalesK(w), x, acc);
  }
};

struct RowQ6_K {
  using Packed = PackedQ6_K;
  static constexpr size_t kBytes = sizeof(BlockQ6_K);  // of the weights of one group
  template <int T>
  static HWY_INLINE void Accumulate(const std::byte* w, const Packed* const* x, __m512* acc) {
    const __m512i nibble = _mm512_set1_epi8(15), top = _mm512_set1_epi8(0x30);
    __m512i u[4];
    for (int half = 0; half < 2; ++half) {
      const __m512i low = Load512(w + 64 * half);
      const __m512i high =
          _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 128 + 32 * half)));
      // Bits 2k, 2k + 1 of `high` belong to quarter k; the lower half of u[0] is quarter 0, and so on.
      const __m512i left = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
      const __m512i right = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
      const __m512i top01 = _mm512_and_si512(_mm512_sllv_epi16(high, left), top);
      const __m512i top23 = _mm512_and_si512(_mm512_srlv_epi16(high, right), top);
      u[2 * half] = _mm512_or_si512(_mm512_and_si512(low, nibble), top01);
      u[2 * half + 1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(low, 4), nibble), top23);
    }
    uint16_t d;
    std::memcpy(&d, w + 208, 2);
    const __m512 weight_scale = _mm512_mul_ps(
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w + 192)))),
        _mm512_cvtph_ps(_mm256_set1_epi16(int16_t(d))));
    const __m512i first = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    for (int t = 0; t < T; ++t) {
      const __m512 scale = _mm512_mul_ps(weight_scale, _mm512_load_ps(x[t]->scale));
      for (int i = 0; i < 4; ++i) {
        const __m512i dots = _mm512_dpbusd_epi32(Load512(x[t]->start[i]), u[i], Load512(x[t]->x[i]));
        const __m512i which = _mm512_add_epi32(first, _mm512_set1_epi32(4 * i));
        acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_permutexvar_ps(which, scale), acc[t]);
      }
    }
  }
};

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
