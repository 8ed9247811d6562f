// Attention for many rows (prefill): a lane is a query row.
//
// Scores, weights and the mix of values are kept transposed, [key][row] and [d_head][row]. Both products
// are then sums of (one number of K or V) * (a vector over rows): no horizontal sums, no tails in d_head
// or in the keys, K and V read where they lie.
// clang-format off
#if defined(HUNCH_KERNELS_ATTENTION_WIDE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_ATTENTION_WIDE_INL_H_
#undef HUNCH_KERNELS_ATTENTION_WIDE_INL_H_
#else
#define HUNCH_KERNELS_ATTENTION_WIDE_INL_H_
#endif
// clang-format on
#include "hwy/highway.h"
#include "kernels/attention_tile-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

// c[m, :] = alpha * c[m, :] + sum_k a[m * m_step + k * k_step] * b[k, :] for M rows of c, each two vectors
// wide; without alpha, c is overwritten.
#define HUNCH_DECLARE(i) VF lo##i, hi##i;
#define HUNCH_LOAD(i)                                                                      \
  lo##i = kRescale ? hn::Mul(hn::LoadU(d, c + i * 2 * lanes), hn::LoadU(d, alpha)) : zero; \
  hi##i = kRescale ? hn::Mul(hn::LoadU(d, c + i * 2 * lanes + lanes), hn::LoadU(d, alpha + lanes)) : zero;
#define HUNCH_STEP(i)                            \
  {                                              \
    const VF factor = hn::Set(d, a[i * m_step]); \
    lo##i = hn::MulAdd(factor, b_lo, lo##i);     \
    hi##i = hn::MulAdd(factor, b_hi, hi##i);     \
  }
#define HUNCH_STORE(i)                     \
  hn::StoreU(lo##i, d, c + i * 2 * lanes); \
  hn::StoreU(hi##i, d, c + i * 2 * lanes + lanes);
#define HUNCH_DEFINE_PRODUCT(M, FOR_ROWS)                                                                        \
  template <bool kRescale>                                                                                       \
  HWY_INLINE void product##M(const float* a, size_t m_step, size_t k_step, size_t n_k, const float* b, float* c, \
                             const float* alpha) {                                                               \
    const DF d;                                                                                                  \
    const size_t lanes = hn::Lanes(d);                                                                           \
    const VF zero = hn::Zero(d);                                                                                 \
    FOR_ROWS(HUNCH_DECLARE)                                                                                      \
    FOR_ROWS(HUNCH_LOAD)                                                                                         \
    for (size_t k = 0; k < n_k; ++k, a += k_step, b += 2 * lanes) {                                              \
      const VF b_lo = hn::LoadU(d, b), b_hi = hn::LoadU(d, b + lanes);                                           \
      FOR_ROWS(HUNCH_STEP)                                                                                       \
    }                                                                                                            \
    FOR_ROWS(HUNCH_STORE)                                                                                        \
  }
#define HUNCH_1_ROW(DO) DO(0)
#define HUNCH_4_ROWS(DO) DO(0) DO(1) DO(2) DO(3)
#define HUNCH_8_ROWS(DO) HUNCH_4_ROWS(DO) DO(4) DO(5) DO(6) DO(7)
HUNCH_DEFINE_PRODUCT(1, HUNCH_1_ROW)
HUNCH_DEFINE_PRODUCT(4, HUNCH_4_ROWS)
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_ARCH_ARM_A64
#define HUNCH_HAS_32_REGISTERS 1  // 16 accumulators and their operands fit
HUNCH_DEFINE_PRODUCT(8, HUNCH_8_ROWS)
#else
#define HUNCH_HAS_32_REGISTERS 0
#endif
#undef HUNCH_DECLARE
#undef HUNCH_LOAD
#undef HUNCH_STEP
#undef HUNCH_STORE
#undef HUNCH_DEFINE_PRODUCT
#undef HUNCH_1_ROW
#undef HUNCH_4_ROWS
#undef HUNCH_8_ROWS

template <bool kRescale>
HWY_NOINLINE void product(const float* a, size_t n_m, size_t m_step, size_t n_k, size_t k_step, const float* b,
                          float* c, const float* alpha) {
  const size_t width = 2 * hn::Lanes(DF());
  size_t m = 0;
#if HUNCH_HAS_32_REGISTERS
  for (; m + 8 <= n_m; m += 8) product8<kRescale>(a + m * m_step, m_step, k_step, n_k, b, c + m * width, alpha);
#endif
  for (; m + 4 <= n_m; m += 4) product4<kRescale>(a + m * m_step, m_step, k_step, n_k, b, c + m * width, alpha);
  for (; m < n_m; ++m) product1<kRescale>(a + m * m_step, m_step, k_step, n_k, b, c + m * width, alpha);
}
#undef HUNCH_HAS_32_REGISTERS

// to[i][l] = from[l][i] * factor[i] for i, l in [0, 4).
HWY_INLINE void transpose_4x4(const float* const from[4], float* const to[4], const float factor[4]) {
#if HWY_TARGET == HWY_SCALAR
  for (size_t i = 0; i < 4; ++i)
    for (size_t l = 0; l < 4; ++l) to[i][l] = from[l][i] * factor[i];
#else
  const hn::CappedTag<float, 4> d;
  const hn::Repartition<uint64_t, decltype(d)> pairs;
  const auto r0 = hn::LoadU(d, from[0]), r1 = hn::LoadU(d, from[1]);
  const auto r2 = hn::LoadU(d, from[2]), r3 = hn::LoadU(d, from[3]);
  const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));  // r0[0] r1[0] | r0[1] r1[1]
  const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
  const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
  const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
  hn::StoreU(hn::Mul(hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), hn::Set(d, factor[0])), d, to[0]);
  hn::StoreU(hn::Mul(hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), hn::Set(d, factor[1])), d, to[1]);
  hn::StoreU(hn::Mul(hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), hn::Set(d, factor[2])), d, to[2]);
  hn::StoreU(hn::Mul(hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), hn::Set(d, factor[3])), d, to[3]);
#endif
}

// The state of a block of 2 * Lanes rows; all arrays in the caller's scratch.
struct WideState {
  float *q, *mix;                    // [d_head, width] scaled queries, and sum_j p_j v_j
  float* scores;                     // [kTileKeys, width]
  float *k, *v;                      // [kTileKeys, d_head] a tile of halves as f32
  float *max, *sum, *alpha, *slope;  // [width]
  int32_t *pos, *first;              // [width] the last and the first key that a row sees; ALiBi counts from the last
};

HWY_INLINE WideState wide_state(float* scratch, size_t d_head) {
  const size_t width = 2 * hn::Lanes(DF());
  const auto take = [&scratch](size_t n) HWY_ATTR {
    float* p = scratch;
    scratch += n;
    return p;
  };
  WideState s;
  s.q = take(d_head * width);
  s.mix = take(d_head * width);
  s.scores = take(kTileKeys * width);
  s.k = take(kTileKeys * d_head);
  s.v = take(kTileKeys * d_head);
  s.max = take(width);
  s.sum = take(width);
  s.alpha = take(width);
  s.slope = take(width);
  s.pos = reinterpret_cast<int32_t*>(take(width));
  s.first = reinterpret_cast<int32_t*>(take(width));
  return s;
}

// Fills the state: queries transposed and scaled, nothing attended to yet. Missing rows repeat the last.
HWY_INLINE void begin_wide(const AttentionBlock& block, WideState& s) {
  const size_t width = 2 * hn::Lanes(DF()), d_head = block.span->kv.d_head;
  const auto slopes = block.params->alibi_slopes;
  const float scale = block.params->scale, scales[4] = {scale, scale, scale, scale};
  const auto query = [&](size_t lane) HWY_ATTR {
    const size_t r = std::min(lane, block.n_rows - 1);
    return block.Q.row(block.row_in_q(r)).data() + block.head(r) * d_head;
  };
  size_t lane = 0;
  for (; lane + 4 <= width; lane += 4) {
    const float* const rows[4] = {query(lane), query(lane + 1), query(lane + 2), query(lane + 3)};
    float* to = s.q + lane;
    size_t i = 0;
    for (; i + 4 <= d_head; i += 4, to += 4 * width) {
      const float* const from[4] = {rows[0] + i, rows[1] + i, rows[2] + i, rows[3] + i};
      float* const four[4] = {to, to + width, to + 2 * width, to + 3 * width};
      transpose_4x4(from, four, scales);
    }
    for (; i < d_head; ++i, to += width)
      for (size_t l = 0; l < 4; ++l) to[l] = rows[l][i] * scale;
  }
  for (; lane < width; ++lane)
    for (size_t i = 0; i < d_head; ++i) s.q[i * width + lane] = query(lane)[i] * scale;
  for (lane = 0; lane < width; ++lane) {
    const size_t r = std::min(lane, block.n_rows - 1);
    s.slope[lane] = slopes.empty() ? 0.0f : slopes[block.head(r)];
    s.pos[lane] = int32_t(block.last_key(r));
    s.first[lane] = int32_t(block.first_key(r));
  }
  std::fill_n(s.max, width, kLowest);
  std::fill_n(s.sum, width, 0.0f);
  std::fill_n(s.mix, d_head * width, 0.0f);
}

// Writes the rows of the result: the mix of values transposed back, and normalised unless it is a part.
HWY_INLINE void end_wide(const AttentionBlock& block, const WideState& s, MatView<float> out,
                         const PartialAttention& partial) {
  const size_t width = 2 * hn::Lanes(DF()), d_head = block.span->kv.d_head;
  const auto row = [&](size_t r) HWY_ATTR {
    return partial.rows ? partial.rows + r * d_head : out.row(block.row_in_q(r)).data() + block.head(r) * d_head;
  };
  for (size_t r = 0; r < block.n_rows; ++r) {
    if (!partial.rows) s.sum[r] = with_sink(block, r, s.max[r], s.sum[r]);
    if (!partial.max) continue;
    partial.max[r] = s.max[r];
    partial.sum[r] = s.sum[r];
  }
  const auto factor = [&](size_t r) HWY_ATTR { return partial.rows ? 1.0f : inverse_or_0(s.sum[r]); };
  size_t r = 0;
  for (; r + 4 <= block.n_rows; r += 4) {
    float* const rows[4] = {row(r), row(r + 1), row(r + 2), row(r + 3)};
    const float factors[4] = {factor(r), factor(r + 1), factor(r + 2), factor(r + 3)};
    const float* mix = s.mix + r;
    size_t i = 0;
    for (; i + 4 <= d_head; i += 4, mix += 4 * width) {
      const float* const from[4] = {mix, mix + width, mix + 2 * width, mix + 3 * width};
      float* const to[4] = {rows[0] + i, rows[1] + i, rows[2] + i, rows[3] + i};
      transpose_4x4(from, to, factors);
    }
    for (; i < d_head; ++i, mix += width)
      for (size_t l = 0; l < 4; ++l) rows[l][i] = mix[l] * factors[l];
  }
  for (; r < block.n_rows; ++r)
    for (size_t i = 0; i < d_head; ++i) row(r)[i] = s.mix[i * width + r] * factor(r);
}

// The positions of a tile's keys.
struct Consecutive {
  size_t begin;
  HWY_INLINE int32_t at(size_t j) const { return int32_t(begin + j); }
};
struct Listed {
  const int32_t* positions;
  HWY_INLINE int32_t at(size_t j) const { return positions[j]; }
};

// A score as the model wants it: shaped, and -inf where the row does not see the key.
template <bool kShaped, bool kMasked, class VI>
HWY_INLINE VF shown_score(DF d, VF score, VI key, VI pos, VI first, float soft_cap, VF slope) {
  if (kShaped) score = shape_score(d, score, soft_cap, slope, hn::ConvertTo(d, hn::Sub(key, pos)));
  if (!kMasked) return score;
  const auto hidden = hn::Or(hn::Gt(key, pos), hn::Lt(key, first));
  return hn::IfThenElse(hn::RebindMask(d, hidden), hn::Set(d, kLowest), score);
}

// Turns a tile's scores into weights e^(s - max), updating each row's max, sum and alpha (the factor for
// what was summed before). Milakov & Gimelshein 2018, "Online normalizer calculation for softmax", alg. 3.
template <bool kShaped, bool kMasked, class Keys>
HWY_NOINLINE void weigh_wide(const AttentionBlock& block, const WideState& s, Keys keys, size_t n_keys) {
  const DF d;
  const hn::RebindToSigned<DF> di;
  const size_t lanes = hn::Lanes(d), width = 2 * lanes;
  const VF lowest = hn::Set(d, kLowest);
  for (size_t half = 0; half < width; half += lanes) {
    const auto pos = hn::LoadU(di, s.pos + half), first = hn::LoadU(di, s.first + half);
    const VF slope = hn::LoadU(d, s.slope + half), old_max = hn::LoadU(d, s.max + half);
    VF max = old_max;
    for (size_t j = 0; j < n_keys; ++j) {
      float* const at = s.scores + j * width + half;
      const VF score = shown_score<kShaped, kMasked>(d, hn::LoadU(d, at), hn::Set(di, keys.at(j)), pos, first,
                                                     block.params->soft_cap, slope);
      if (kShaped || kMasked) hn::StoreU(score, d, at);
      max = hn::Max(max, score);
    }
    // A row that has seen no key yet has max -inf; its weights must be 0 and not e^(-inf + inf).
    const VF base = hn::IfThenZeroElse(hn::Eq(max, lowest), max);
    const VF alpha = exp(d, hn::Sub(old_max, base));
    VF sum = hn::Mul(hn::LoadU(d, s.sum + half), alpha);
    for (size_t j = 0; j < n_keys; ++j) {
      float* const at = s.scores + j * width + half;
      const VF weight = exp(d, hn::Sub(hn::LoadU(d, at), base));
      sum = hn::Add(sum, weight);
      hn::StoreU(weight, d, at);
    }
    hn::StoreU(max, d, s.max + half);
    hn::StoreU(sum, d, s.sum + half);
    hn::StoreU(alpha, d, s.alpha + half);
  }
}

HWY_INLINE bool is_shaped(const AttentionParams& params) { return params.soft_cap > 0 || !params.alibi_slopes.empty(); }

template <class T, class Keys>
HWY_INLINE void attend_tile_wide(const AttentionBlock& block, const WideState& s, const T* k, const T* v, size_t n_keys,
                                 Keys keys, bool masked) {
  const size_t d_head = block.span->kv.d_head;
  product<false>(as_f32(k, n_keys * d_head, s.k), n_keys, d_head, d_head, 1, s.q, s.scores, nullptr);
  const auto weigh = is_shaped(*block.params)
                         ? (masked ? weigh_wide<true, true, Keys> : weigh_wide<true, false, Keys>)
                         : (masked ? weigh_wide<false, true, Keys> : weigh_wide<false, false, Keys>);
  weigh(block, s, keys, n_keys);
  product<true>(as_f32(v, n_keys * d_head, s.v), d_head, 1, n_keys, d_head, s.scores, s.mix, s.alpha);
}

// T: float or f16, read where they lie, or void: keys are listed.
template <class T>
HWY_INLINE void attend_wide(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial,
                            float* scratch) {
  const KvView& kv = block.span->kv;
  const size_t d_head = kv.d_head, last = block.n_rows - 1;
  WideState s = wide_state(scratch, d_head);
  begin_wide(block, s);
  if constexpr (std::is_void_v<T>) {
    for_each_listed_tile(block, s.k, s.v, [&](const ListedTile& tile) HWY_ATTR {
      attend_tile_wide(block, s, tile.k, tile.v, tile.n_keys, Listed{tile.positions}, true);
    });
  } else {
    for_each_tile<T>(
        kv, block.kv_head, block.key_begin, block.key_end, [&](const Tile<T>& tile, NextTile next) HWY_ATTR {
          next.k.ask(SIZE_MAX);
          next.v.ask(SIZE_MAX);
          // Only the pages at the ends of the range hold keys that some rows see and others do not.
          const bool masked = tile.begin + tile.n_keys > block.last_key(0) + 1 || tile.begin < block.first_key(last);
          attend_tile_wide(block, s, tile.k, tile.v, tile.n_keys, Consecutive{tile.begin}, masked);
        });
  }
  end_wide(block, s, out, partial);
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
