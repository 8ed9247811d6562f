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

// One strip of a task, few tokens.
HWY_NOINLINE void Strip(const Int8Tokens& x, const Int8Task& task, size_t strip) {
  const int8_t* w = task.strips + strip * int8_strip_bytes(x.n_in);
  constexpr size_t kMost = kMostInt8Tokens < 4 ? kMostInt8Tokens : 4;
  HWY_ALIGN int32_t sums[kMost * 16];
  for (size_t t = 0; t < x.n_tokens;) {
    const size_t left = x.n_tokens - t;
    size_t n = 1;
    if (x.only_quads) {
      StripTimes<1, true>(w, x, t, sums);
    } else if (left >= kMost) {
      StripTimes<kMost, false>(w, x, t, sums);
      n = kMost;
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

// Adds what steps [begin, end) give of the products of S strips and T tokens from `first` on (of one tile) to
// sums[t][s][16 rows].
template <int S, int T>
HWY_NOINLINE void GroupTimes(const int8_t* const* strips, const Int8Tokens& x, size_t first, size_t begin, size_t end,
                             int32_t* sums) {
  const D8 d8;
  const D32 d32;
  constexpr size_t kQuads = kInt8Step / kInt8Quad;
  hn::Vec<D32> acc[T][S][kVectors];
  HWY_UNROLL(8) for (int t = 0; t < T; ++t) {
    HWY_UNROLL(4) for (int s = 0; s < S; ++s) {
      HWY_UNROLL(4)
      for (size_t v = 0; v < kVectors; ++v)
        acc[t][s][v] = hn::Load(d32, sums + size_t(t * S + s) * 16 + v * hn::Lanes(d32));
    }
  }
  const size_t step_bytes = x.step_bytes(first);
  const int8_t* codes = x.token(first) + begin * step_bytes;  // tokens of a tile lie a step apart
  for (size_t line = begin * kQuads; line < end * kQuads; line += kQuads, codes += step_bytes) {
    HWY_UNROLL(2) for (size_t q = 0; q < kQuads; ++q) {
      hn::Vec<D8> w[S][kVectors];
      HWY_UNROLL(4) for (int s = 0; s < S; ++s) {
        HWY_UNROLL(4) for (size_t v = 0; v < kVectors; ++v) {
          w[s][v] = hn::Load(d8, strips[s] + (line + q) * 64 + v * hn::Lanes(d8));
#if HUNCH_VNNI
          w[s][v] = hn::Vec<D8>{Flipped(w[s][v].raw)};
#endif
        }
      }
      HWY_UNROLL(8) for (int t = 0; t < T; ++t) {
        int32_t four;
        std::memcpy(&four, codes + size_t(t) * kInt8Step + q * kInt8Quad, sizeof four);
        const auto xs = hn::BitCast(d8, hn::Set(d32, four));
        HWY_UNROLL(4)
        for (int s = 0; s < S; ++s)
          HWY_UNROLL(4) for (size_t v = 0; v < kVectors; ++v) acc[t][s][v] = Add(acc[t][s][v], w[s][v], xs);
      }
    }
  }
  HWY_UNROLL(8) for (int t = 0; t < T; ++t) {
    HWY_UNROLL(4) for (int s = 0; s < S; ++s) {
      HWY_UNROLL(4)
      for (size_t v = 0; v < kVectors; ++v)
        hn::Store(acc[t][s][v], d32, sums + size_t(t * S + s) * 16 + v * hn::Lanes(d32));
    }
  }
}

// S strips of a task, many tokens. A piece of the strips, which the first cache holds, meets all tokens before the next
// one does; sums of so many tokens wait in the second.
template <int S>
HWY_NOINLINE void Group(const Int8Tokens& x, const Int8Task& task, const size_t* which) {
  constexpr size_t kTokens = 256, kPieceSteps = 8;
  HWY_ALIGN int32_t sums[kTokens * S * 16];
  const int8_t* strips[S];
  for (int s = 0; s < S; ++s) strips[s] = task.strips + which[s] * int8_strip_bytes(x.n_in);
  const size_t n_steps = x.n_padded() / kInt8Step;
  for (size_t from = 0; from < x.n_tokens; from += kTokens) {
    const size_t to = HWY_MIN(from + kTokens, x.n_tokens);
    for (size_t t = from; t < to; ++t)
      for (size_t i = 0; i < S * 16; ++i) sums[(t - from) * S * 16 + i] = HUNCH_VNNI ? -128 * x.sum[t] : 0;
    for (size_t begin = 0; begin < n_steps; begin += kPieceSteps) {
      const size_t end = HWY_MIN(begin + kPieceSteps, n_steps);
      for (size_t t = from; t < to;) {
        // Those of a tile only, so that all lie a step apart.
        const size_t left = x.tokens_of_tile(t / Int8Tokens::kTile) - t % Int8Tokens::kTile;
        int32_t* own = sums + (t - from) * S * 16;
        if (left >= kMostInt8Tokens) {
          GroupTimes<S, kMostInt8Tokens>(strips, x, t, begin, end, own);
          t += kMostInt8Tokens;
        } else if (left >= 2) {
          GroupTimes<S, 2>(strips, x, t, begin, end, own);
          t += 2;
        } else {
          GroupTimes<S, 1>(strips, x, t, begin, end, own);
          t += 1;
        }
      }
    }
    for (size_t t = from; t < to; ++t)
      for (int s = 0; s < S; ++s) WriteSums(x, task, which[s], t, sums + ((t - from) * S + size_t(s)) * 16);
  }
}

// Strips [begin, end) of those that are computed.
void Strips(const Int8Tokens& x, const Int8Task& task, size_t begin, size_t end) {
  const auto strip_of = [&](size_t i) { return task.only_chosen ? size_t{task.chosen[i]} : i; };
  if (x.n_tokens < kMostInt8Tokens) {
    for (size_t i = begin; i < end; ++i) Strip(x, task, strip_of(i));
    return;
  }
  for (size_t i = begin; i < end;) {
    const size_t n = HWY_MIN(end - i, kInt8StripsAtOnce);
    size_t which[kInt8StripsAtOnce];
    for (size_t s = 0; s < n; ++s) which[s] = strip_of(i + s);
    if constexpr (kInt8StripsAtOnce == 3) {
      n == 3 ? Group<3>(x, task, which) : n == 2 ? Group<2>(x, task, which) : Group<1>(x, task, which);
    } else {
      Group<1>(x, task, which);
    }
    i += n;
  }
}

}  // namespace
