// Sums of scaled quantised rows on 512-bit vectors: codes become f32 in registers, without a detour
// through memory. No include guard: gemv_axpy.cc includes it once per AVX-512 target, inside namespace
// HWY_NAMESPACE.
//
// A nibble becomes its value by a look-up among 16 floats (vpermps reads only the low four bits of an
// index), so that a block of 32 costs, per row: one widening load, one shift, two look-ups, two FMAs.

namespace wide {

constexpr int kStreams = 8;  // rows added together: y is read and written once for all of them

// factor[r][t][b] = a[r * T + t] * scale of sub-block b, for 256 elements.
template <int R, int T>
struct Factors {
  alignas(64) float of[R][T][16];
};

HWY_INLINE __m512 Nibbles(__m512i index, __m512 table) { return _mm512_permutexvar_ps(index, table); }
HWY_INLINE __m512i LoadPairs(const std::byte* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

// The f16 scales of 8 blocks that lie kStride bytes apart; zeros past n_blocks.
template <size_t kStride>
HWY_INLINE __m256 BlockScales(const std::byte* w, size_t n_blocks) {
  if (n_blocks == 8 && kStride == sizeof(BlockQ4_0)) {  // words 0, 9, 18 and 27 of each half
    const __m512i which = _mm512_castsi128_si512(_mm_set_epi16(59, 50, 41, 32, 27, 18, 9, 0));
    return _mm256_cvtph_ps(_mm512_castsi512_si128(
        _mm512_permutex2var_epi16(_mm512_loadu_si512(w), which, _mm512_loadu_si512(w + 4 * kStride))));
  }
  uint64_t low = 0, high = 0;
  const auto half = [&](size_t b) HWY_ATTR {
    uint16_t h = 0;
    if (b < n_blocks) std::memcpy(&h, w + b * kStride, 2);
    return uint64_t(h);
  };
  for (size_t b = 0; b < 4; ++b) low |= half(b) << 16 * b, high |= half(b + 4) << 16 * b;
  return _mm256_cvtph_ps(_mm_set_epi64x(int64_t(high), int64_t(low)));
}

template <size_t kStride, int R, int T>
HWY_INLINE void BlockFactors(const std::byte* const* w, const float* a, size_t n_blocks, Factors<R, T>& f) {
  HWY_UNROLL(8) for (int r = 0; r < R; ++r) {
    const __m256 scales = BlockScales<kStride>(w[r], n_blocks);
    for (int t = 0; t < T; ++t) _mm256_store_ps(f.of[r][t], _mm256_mul_ps(scales, _mm256_set1_ps(a[r * T + t])));
  }
}

// y[t][32b .. 32b + 32) += the R rows' block b, whose two halves codes(r, value) returns, less min[t][b]
// where a format has minima.
template <int R, int T, class Codes>
HWY_INLINE void AddBlock(const Factors<R, T>& f, size_t b, const float (*min)[8], float* const* y, const Codes& codes) {
  __m512 sum[T][2];
  for (int t = 0; t < T; ++t)
    for (int half = 0; half < 2; ++half) {
      sum[t][half] = _mm512_loadu_ps(y[t] + 32 * b + 16 * half);
      if (min) sum[t][half] = _mm512_sub_ps(sum[t][half], _mm512_set1_ps(min[t][b]));
    }
  HWY_UNROLL(8) for (int r = 0; r < R; ++r) {
    __m512 value[2];
    codes(r, value);
    for (int t = 0; t < T; ++t) {
      const __m512 factor = _mm512_set1_ps(f.of[r][t][b]);
      sum[t][0] = _mm512_fmadd_ps(value[0], factor, sum[t][0]);
      sum[t][1] = _mm512_fmadd_ps(value[1], factor, sum[t][1]);
    }
  }
  for (int t = 0; t < T; ++t) {
    _mm512_storeu_ps(y[t] + 32 * b, sum[t][0]);
    _mm512_storeu_ps(y[t] + 32 * b + 16, sum[t][1]);
  }
}

// Asks for kBytes of row b, at `offset`. A type and not a lambda: GCC 12 takes a call that only
// prefetches for one without effect and drops it, unless it is inlined by force.
template <size_t kRows, size_t kBytes>
struct Prefetch {
  const std::byte* const* row;
  size_t offset;
  HWY_INLINE void operator()(size_t b) const {
    if (b < kRows)
      for (size_t line = 0; line < kBytes; line += 64) hwy::Prefetch(row[b] + offset + line);
  }
};

// Each format adds `n` elements (up to 256, whole blocks) of R rows to the T rows y; w[r] points at them.
// prefetch(b) is called before block b: eight parts, so that requests do not come in bursts that fill the
// buffers between L1 and L2.
struct AddQ8_0 {
  static constexpr size_t kBlockElems = 32, kBlockBytes = sizeof(BlockQ8_0);
  template <int R, int T, class Ahead>
  static HWY_INLINE void Add(const std::byte* const* w, const float* a, size_t n, float* const* y,
                             const Ahead& prefetch) {
    Factors<R, T> f;
    BlockFactors<kBlockBytes>(w, a, n / 32, f);
    for (size_t b = 0; b < n / 32; ++b) {
      prefetch(b);
      AddBlock(f, b, nullptr, y, [&](int r, __m512* value) HWY_ATTR {
        const auto* p = reinterpret_cast<const __m128i*>(w[r] + b * kBlockBytes + 2);
        value[0] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
        value[1] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p + 1)));
      });
    }
  }
};

struct AddQ4_0 {
  static constexpr size_t kBlockElems = 32, kBlockBytes = sizeof(BlockQ4_0);
  template <int R, int T, class Ahead>
  static HWY_INLINE void Add(const std::byte* const* w, const float* a, size_t n, float* const* y,
                             const Ahead& prefetch) {
    const __m512 table = _mm512_set_ps(7, 6, 5, 4, 3, 2, 1, 0, -1, -2, -3, -4, -5, -6, -7, -8);
    Factors<R, T> f;
    BlockFactors<kBlockBytes>(w, a, n / 32, f);
    for (size_t b = 0; b < n / 32; ++b) {
      prefetch(b);
      AddBlock(f, b, nullptr, y, [&](int r, __m512* value) HWY_ATTR {
        const __m512i pairs = LoadPairs(w[r] + b * kBlockBytes + 2);
        value[0] = Nibbles(pairs, table);
        value[1] = Nibbles(_mm512_srli_epi32(pairs, 4), table);
      });
    }
  }
};

#include "kernels/scales_k_avx512-inl.h"

// Each 32 bytes hold sub-block 2j in their low and 2j + 1 in their high nibbles; w = scale q - min.
// The minima of four rows are subtracted together, so R is 4 or 1.
struct AddQ4_K {
  static constexpr size_t kBlockElems = 256, kBlockBytes = sizeof(BlockQ4_K);
  template <int R, int T, class Ahead>
  static HWY_INLINE void Add(const std::byte* const* w, const float* a, size_t, float* const* y,
                             const Ahead& prefetch) {
    const __m512 table = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    Factors<R, T> f;
    alignas(64) float minima[T][8];
    for (int t = 0; t < T; ++t) std::memset(minima[t], 0, sizeof minima[t]);
    HWY_UNROLL(8) for (int r = 0; r < R; ++r) {
      const __m512 both = ScalesK(w[r]);  // 8 scales, 8 minima
      const __m256 scale = _mm512_castps512_ps256(both);
      const __m256 min = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(both), 1));
      for (int t = 0; t < T; ++t) {
        const __m256 factor = _mm256_set1_ps(a[r * T + t]);
        _mm256_store_ps(f.of[r][t], _mm256_mul_ps(scale, factor));
        _mm256_store_ps(minima[t], _mm256_fmadd_ps(min, factor, _mm256_load_ps(minima[t])));
      }
    }
    for (size_t b = 0; b < 8; b += 2) {
      const auto pairs = [&](int r) HWY_ATTR { return w[r] + offsetof(BlockQ4_K, q) + b / 2 * 32; };
      prefetch(b);
      AddBlock(f, b, minima, y, [&](int r, __m512* value) HWY_ATTR {
        value[0] = Nibbles(LoadPairs(pairs(r)), table);
        value[1] = Nibbles(LoadPairs(pairs(r) + 16), table);
      });
      prefetch(b + 1);
      AddBlock(f, b + 1, minima, y, [&](int r, __m512* value) HWY_ATTR {
        value[0] = Nibbles(_mm512_srli_epi32(LoadPairs(pairs(r)), 4), table);
        value[1] = Nibbles(_mm512_srli_epi32(LoadPairs(pairs(r) + 16), 4), table);
      });
    }
  }
};

// y[t] += the sum of R whole rows times a[r * T + t]; past the end of w[r], ahead[r] is asked for.
template <class Format, int R, int T>
HWY_NOINLINE void AddRows(const std::byte* const* w, const std::byte* const* ahead, const float* a, size_t n,
                          float* const* y) {
  constexpr size_t kStepBytes = 256 / Format::kBlockElems * Format::kBlockBytes;
  const size_t n_bytes = n / Format::kBlockElems * Format::kBlockBytes;
  const std::byte* at[R];
  float* to[T];
  for (int r = 0; r < R; ++r) at[r] = w[r];
  for (int t = 0; t < T; ++t) to[t] = y[t];
  for (size_t i = 0, offset = 0; i < n; i += 256, offset += kStepBytes) {
    const size_t next = offset + kAheadBytes;
    const bool inside = next < n_bytes;
    Format::template Add<R, T>(at, a, std::min<size_t>(256, n - i), to,
                               Prefetch<R, kStepBytes>{inside ? w : ahead, inside ? next : next - n_bytes});
    for (int r = 0; r < R; ++r) at[r] += kStepBytes;
    for (int t = 0; t < T; ++t) to[t] += 256;
  }
}

// Positions i .. i + R of the range, all tokens. Every token's sums are formed in the same order
// whatever R and T: a token's result does not depend on its companions.
template <class Format, int R>
void AddGroup(const AxpyArgs& args, size_t i, size_t end) {
  const auto row = [&](size_t at) {
    at = std::min(at, end - 1);  // past the end: anything that may be prefetched
    return args.W.data + (args.ids ? args.ids[at] : at) * args.W.row_stride_bytes;
  };
  const std::byte *w[R], *ahead[R];
  for (size_t r = 0; r < R; ++r) w[r] = row(i + r), ahead[r] = row(i + R + r);
  float a[4 * R];
  float* y[4];
  for (size_t t = 0; t < args.A.rows;) {
    const size_t T = R <= 4 && args.A.rows - t >= 4 ? 4 : 1;
    for (size_t k = 0; k < T; ++k) {
      for (size_t r = 0; r < R; ++r) a[r * T + k] = args.A.data[(t + k) * args.A.row_stride + i + r];
      y[k] = args.y + (t + k) * args.y_stride;
    }
    if (args.skip_zeros && std::all_of(a, a + T * R, [](float v) { return v == 0; })) {
      t += T;
      continue;
    }
    if constexpr (R <= 4) {
      if (T == 4) AddRows<Format, R, 4>(w, ahead, a, args.W.cols, y);
    }
    if (T == 1) AddRows<Format, R, 1>(w, ahead, a, args.W.cols, y);
    t += T;
  }
}

template <class Format, int kMostRows>
void AxpyRange(const AxpyArgs& args, size_t begin, size_t end) {
  size_t i = begin;
  if constexpr (kMostRows > 4) {
    if (args.A.rows < 4)
      for (; i + kMostRows <= end; i += kMostRows) AddGroup<Format, kMostRows>(args, i, end);
  }
  for (; i + 4 <= end; i += 4) AddGroup<Format, 4>(args, i, end);
  for (; i < end; ++i) AddGroup<Format, 1>(args, i, end);
}

}  // namespace wide
