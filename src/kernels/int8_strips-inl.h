// Strips of int8 times a few tokens whose sums stay in registers. No include guard: int8_strips.cc includes it once per
// target inside namespace HWY_NAMESPACE, and once more with HUNCH_VNNI and the attributes of VNNI where a target may
// have it.

#if HUNCH_VNNI
namespace vnni_int8 {
#else
namespace plain_int8 {
#endif

using D8 = hn::CappedTag<int8_t, 64>;
using D32 = hn::Repartition<int32_t, D8>;
constexpr size_t kVectors = 64 / hn::MaxLanes(D8());  // of a line

// vpdpbusd wants one side unsigned: w + 128, whose 128 times the token's codes the sums begin without.
#if HUNCH_VNNI && HWY_TARGET <= HWY_AVX3
HWY_INLINE __m512i Flipped(__m512i w) { return _mm512_xor_si512(w, _mm512_set1_epi8(-128)); }
HWY_INLINE hn::Vec512<int32_t> Add(hn::Vec512<int32_t> acc, hn::Vec512<int8_t> w, hn::Vec512<int8_t> x) {
  return hn::Vec512<int32_t>{_mm512_dpbusd_epi32(acc.raw, w.raw, x.raw)};
}
#elif HUNCH_VNNI
HWY_INLINE __m256i Flipped(__m256i w) { return _mm256_xor_si256(w, _mm256_set1_epi8(-128)); }
HWY_INLINE hn::Vec256<int32_t> Add(hn::Vec256<int32_t> acc, hn::Vec256<int8_t> w, hn::Vec256<int8_t> x) {
  return hn::Vec256<int32_t>{_mm256_dpbusd_avx_epi32(acc.raw, w.raw, x.raw)};
}
#else
template <class V32, class V8>
HWY_INLINE V32 Add(V32 acc, V8 w, V8 x) {
  return DotSigned(acc, w, x);
}
#endif

// sums[t * 16 + r] of the sixteen rows of a strip and T tokens from `first` on. kSome: of x.quads only.
template <int T, bool kSome>
HWY_INLINE void StripTimes(const int8_t* strip, const Int8Tokens& x, size_t first, int32_t* sums) {
  const D8 d8;
  const D32 d32;
  const size_t n = kSome ? x.quads.size() : x.n_padded() / kInt8Quad;
  const size_t step = x.step_bytes(first);
  const int8_t* tokens[T];
  hn::Vec<D32> acc[T * kVectors];
  for (int t = 0; t < T; ++t) {
    tokens[t] = x.token(first + size_t(t));
#if HUNCH_VNNI
    const auto start = hn::Set(d32, -128 * x.sum[first + size_t(t)]);
#else
    const auto start = hn::Zero(d32);
#endif
    for (size_t v = 0; v < kVectors; ++v) acc[size_t(t) * kVectors + v] = start;
  }
  for (size_t i = 0; i < n; ++i) {
    const size_t quad = kSome ? x.quads[i] : i;
    const int8_t* line = strip + quad * 64;
    const size_t at = quad / (kInt8Step / kInt8Quad) * step + quad % (kInt8Step / kInt8Quad) * kInt8Quad;
    if constexpr (!kSome) hwy::Prefetch(line + 2048);
    hn::Vec<D8> w[kVectors];
    for (size_t v = 0; v < kVectors; ++v) {
      w[v] = hn::Load(d8, line + v * hn::Lanes(d8));
#if HUNCH_VNNI
      w[v] = hn::Vec<D8>{Flipped(w[v].raw)};
#endif
    }
    for (int t = 0; t < T; ++t) {
      int32_t four;
      std::memcpy(&four, tokens[t] + at, sizeof four);
      const auto xs = hn::BitCast(d8, hn::Set(d32, four));
      for (size_t v = 0; v < kVectors; ++v) {
        auto& a = acc[size_t(t) * kVectors + v];
        a = Add(a, w[v], xs);
      }
    }
  }
  for (int t = 0; t < T; ++t)
    for (size_t v = 0; v < kVectors; ++v)
      hn::StoreU(acc[size_t(t) * kVectors + v], d32, sums + size_t(t) * 16 + v * hn::Lanes(d32));
}

// One strip of a task, all tokens.
HWY_NOINLINE void Strip(const Int8Tokens& x, const Int8Task& task, size_t strip) {
  const int8_t* w = task.strips + strip * int8_strip_bytes(x.n_in);
  HWY_ALIGN int32_t sums[kMostInt8Tokens * 16];
  for (size_t t = 0; t < x.n_tokens;) {
    // Those of a tile only, so that all lie a step apart.
    const size_t left = x.tokens_of_tile(t / Int8Tokens::kTile) - t % Int8Tokens::kTile;
    size_t n = 1;
    if (x.only_quads) {
      StripTimes<1, true>(w, x, t, sums);
    } else if (left >= kMostInt8Tokens) {
      StripTimes<kMostInt8Tokens, false>(w, x, t, sums);
      n = kMostInt8Tokens;
    } else if (left >= 2) {
      StripTimes<2, false>(w, x, t, sums);
      n = 2;
    } else {
      StripTimes<1, false>(w, x, t, sums);
    }
    for (size_t k = 0; k < n; ++k) WriteSums(x, task, strip, t + k, sums + k * 16);
    t += n;
  }
}

}  // namespace
