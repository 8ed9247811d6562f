#include "kernels/attention_block.h"

#include <algorithm>
#include <limits>

#include "base/half.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_block.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/vec_math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr size_t kTileKeys = 64;  // most keys whose scores are held at once

// A run of keys within one page: their K and V rows, d_head elements apart.
template <class T>
struct Tile {
  const T *k, *v;
  size_t begin, n_keys;
};

// The tile that starts at key `begin`: up to the end of its page, of the range, or of the room for scores.
template <class T>
HWY_INLINE Tile<T> tile_at(const KvView& kv, size_t kv_head, size_t begin, size_t end) {
  const size_t slot = begin % kv.page_tokens;
  const size_t n_keys = std::min({end - begin, kv.page_tokens - slot, kTileKeys});
  const std::byte* k = kv.pages[begin / kv.page_tokens] + (kv_head * kv.page_tokens + slot) * kv.d_head * sizeof(T);
  return {reinterpret_cast<const T*>(k), reinterpret_cast<const T*>(k + kv.v_offset_bytes), begin, n_keys};
}

// Pages lie anywhere, so that the hardware does not see the next one coming.
template <class T>
HWY_INLINE void prefetch(const T* rows, size_t n) {
  for (size_t i = 0; i < n; i += 64 / sizeof(T)) __builtin_prefetch(rows + i, 0, 2);
}

// Calls body(tile) for the keys [begin, end), page by page; the next tile is on its way meanwhile.
template <class T, class Body>
HWY_INLINE void for_each_tile(const KvView& kv, size_t kv_head, size_t begin, size_t end, const Body& body) {
  while (begin < end) {
    const Tile<T> tile = tile_at<T>(kv, kv_head, begin, end);
    begin += tile.n_keys;
    if (begin < end) {
      const Tile<T> next = tile_at<T>(kv, kv_head, begin, end);
      prefetch(next.k, next.n_keys * kv.d_head);
      prefetch(next.v, next.n_keys * kv.d_head);
    }
    body(tile);
  }
}

HWY_INLINE VF load(DF d, const float* p) { return hn::LoadU(d, p); }
HWY_INLINE VF load(DF d, const f16* p) {
  const hn::Rebind<hwy::float16_t, DF> dh;
  return hn::PromoteTo(d, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(p)));
}

// s = cap * tanh(s / cap), then s += slope * (key - pos), as far as wanted.
HWY_INLINE VF shape_score(DF d, VF s, float soft_cap, VF slope, VF distance) {
  if (soft_cap > 0) s = hn::Mul(hn::Set(d, soft_cap), tanh(d, hn::Mul(s, hn::Set(d, 1 / soft_cap))));
  return hn::MulAdd(slope, distance, s);
}

// ---- Many rows: a lane is a query row -------------------------------------------------------------
// Scores, weights and the mix of values are kept transposed, [key][row] and [d_head][row]. Both products
// are then sums of (one number of K or V) * (a vector over rows): no horizontal sums, no tails in d_head
// or in the keys, K and V read where they lie.

// c[m, :] = alpha * c[m, :] + sum_k a[m * m_step + k * k_step] * b[k, :] for M rows of c, each two vectors
// wide; without alpha, c is overwritten.
#define HUNCH_DECLARE(i) VF lo##i, hi##i;
#define HUNCH_LOAD(i)                                                                        \
  lo##i = kRescale ? hn::Mul(hn::LoadU(d, c + i * 2 * lanes), hn::LoadU(d, alpha)) : zero;   \
  hi##i = kRescale ? hn::Mul(hn::LoadU(d, c + i * 2 * lanes + lanes), hn::LoadU(d, alpha + lanes)) : zero;
#define HUNCH_STEP(i)                                  \
  {                                                    \
    const VF factor = hn::Set(d, a[i * m_step]);       \
    lo##i = hn::MulAdd(factor, b_lo, lo##i);           \
    hi##i = hn::MulAdd(factor, b_hi, hi##i);           \
  }
#define HUNCH_STORE(i)                      \
  hn::StoreU(lo##i, d, c + i * 2 * lanes);  \
  hn::StoreU(hi##i, d, c + i * 2 * lanes + lanes);
#define HUNCH_DEFINE_PRODUCT(M, FOR_ROWS)                                                                          \
  template <bool kRescale>                                                                                         \
  HWY_INLINE void product##M(const float* a, size_t m_step, size_t k_step, size_t n_k, const float* b, float* c,   \
                             const float* alpha) {                                                                 \
    const DF d;                                                                                                    \
    const size_t lanes = hn::Lanes(d);                                                                             \
    const VF zero = hn::Zero(d);                                                                                   \
    FOR_ROWS(HUNCH_DECLARE)                                                                                        \
    FOR_ROWS(HUNCH_LOAD)                                                                                           \
    for (size_t k = 0; k < n_k; ++k, a += k_step, b += 2 * lanes) {                                                \
      const VF b_lo = hn::LoadU(d, b), b_hi = hn::LoadU(d, b + lanes);                                             \
      FOR_ROWS(HUNCH_STEP)                                                                                         \
    }                                                                                                              \
    FOR_ROWS(HUNCH_STORE)                                                                                          \
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
HWY_NOINLINE void product(const float* a, size_t n_m, size_t m_step, size_t n_k, size_t k_step, const float* b, float* c,
                          const float* alpha) {
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
  int32_t *pos, *first;              // [width] the last and the first key that a row sees
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
    s.pos[lane] = int32_t(block.pos(r));
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
    if (!partial.rows) continue;
    partial.max[r] = s.max[r];
    partial.sum[r] = s.sum[r];
  }
  const auto factor = [&](size_t r) HWY_ATTR { return partial.rows ? 1.0f : 1.0f / s.sum[r]; };
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

// Turns a tile's scores into weights e^(s - max), updating each row's max, sum and alpha (the factor for
// what was summed before). Milakov & Gimelshein 2018, "Online normalizer calculation for softmax", alg. 3.
template <bool kShaped, bool kMasked>
HWY_NOINLINE void weigh_wide(const AttentionBlock& block, const WideState& s, size_t begin, size_t n_keys) {
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
      VF score = hn::LoadU(d, at);
      const auto key = hn::Set(di, int32_t(begin + j));
      if (kShaped) score = shape_score(d, score, block.params->soft_cap, slope, hn::ConvertTo(d, hn::Sub(key, pos)));
      if (kMasked) {
        const auto hidden = hn::Or(hn::Gt(key, pos), hn::Lt(key, first));
        score = hn::IfThenElse(hn::RebindMask(d, hidden), lowest, score);
      }
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

HWY_INLINE const float* as_f32(const float* rows, size_t, float*) { return rows; }
HWY_INLINE const float* as_f32(const f16* rows, size_t n, float* to) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(load(d, rows + i), d, to + i);
  for (; i < n; ++i) to[i] = to_f32(rows[i]);
  return to;
}

template <class T>
HWY_INLINE void attend_wide(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial,
                            float* scratch) {
  const KvView& kv = block.span->kv;
  const size_t d_head = kv.d_head, last = block.n_rows - 1;
  WideState s = wide_state(scratch, d_head);
  begin_wide(block, s);
  const bool shaped = block.params->soft_cap > 0 || !block.params->alibi_slopes.empty();
  for_each_tile<T>(kv, block.kv_head, block.key_begin, block.key_end, [&](const Tile<T>& tile) HWY_ATTR {
    const float* k = as_f32(tile.k, tile.n_keys * d_head, s.k);
    product<false>(k, tile.n_keys, d_head, d_head, 1, s.q, s.scores, nullptr);
    // Only the pages at the ends of the range hold keys that some rows see and others do not.
    const bool masked = tile.begin + tile.n_keys > block.pos(0) + 1 || tile.begin < block.first_key(last);
    const auto weigh = shaped ? (masked ? weigh_wide<true, true> : weigh_wide<true, false>)
                              : (masked ? weigh_wide<false, true> : weigh_wide<false, false>);
    weigh(block, s, tile.begin, tile.n_keys);
    const float* v = as_f32(tile.v, tile.n_keys * d_head, s.v);
    product<true>(v, d_head, 1, tile.n_keys, d_head, s.scores, s.mix, s.alpha);
  });
  end_wide(block, s, out, partial);
}

// ---- Few rows (decode): a lane is an element of the head -------------------------------------------
// Each row in turn takes the tile, which stays in cache: dot products with K, then a weighted sum of V.
// Where d_head is no multiple of the lanes, the last vector overlaps the one before, so that nothing past
// the row is read; its query lanes that were counted already are 0.

// Offset of vector i of a head; needs d_head >= lanes.
HWY_INLINE size_t offset_of(size_t i, size_t lanes, size_t d_head) { return std::min(i * lanes, d_head - lanes); }

// to[i] = the sum of s_i's lanes.
HWY_INLINE void sums_of_4(DF d, VF s0, VF s1, VF s2, VF s3, float* to) {
#if HWY_TARGET == HWY_SCALAR || HWY_HAVE_SCALABLE
  to[0] = hn::GetLane(hn::SumOfLanes(d, s0));
  to[1] = hn::GetLane(hn::SumOfLanes(d, s1));
  to[2] = hn::GetLane(hn::SumOfLanes(d, s2));
  to[3] = hn::GetLane(hn::SumOfLanes(d, s3));
#else
  // Within each 128-bit block, first to pairs s0 s1 s0 s1 and s2 s3 s2 s3, then to s0 s1 s2 s3; then over blocks.
  const hn::Repartition<uint64_t, DF> pairs;
  const auto s01 = hn::BitCast(pairs, hn::Add(hn::InterleaveLower(d, s0, s1), hn::InterleaveUpper(d, s0, s1)));
  const auto s23 = hn::BitCast(pairs, hn::Add(hn::InterleaveLower(d, s2, s3), hn::InterleaveUpper(d, s2, s3)));
  const VF all = hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, s01, s23)),
                         hn::BitCast(d, hn::InterleaveUpper(pairs, s01, s23)));
  const hn::CappedTag<float, 4> d4;
#if HWY_MAX_BYTES == 64
  const hn::Half<DF> d8;
  const auto eight = hn::Add(hn::LowerHalf(d8, all), hn::UpperHalf(d8, all));
  hn::StoreU(hn::Add(hn::LowerHalf(d4, eight), hn::UpperHalf(d4, eight)), d4, to);
#elif HWY_MAX_BYTES == 32
  hn::StoreU(hn::Add(hn::LowerHalf(d4, all), hn::UpperHalf(d4, all)), d4, to);
#else
  hn::StoreU(all, d4, to);
#endif
#endif
}

// scores[j] = dot(q, row j of k); q laid out as attend_narrow does.
template <class T>
HWY_INLINE void dot_keys(const float* q, const T* k, size_t n_keys, size_t d_head, float* scores) {
  const DF d;
  const size_t lanes = hn::Lanes(d), n_vectors = (d_head + lanes - 1) / lanes;
  size_t j = 0;
  for (; j + 4 <= n_keys; j += 4, k += 4 * d_head) {
    VF s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    for (size_t i = 0; i < n_vectors; ++i) {
      const VF qv = hn::LoadU(d, q + i * lanes);
      const T* const at = k + offset_of(i, lanes, d_head);
      s0 = hn::MulAdd(qv, load(d, at), s0);
      s1 = hn::MulAdd(qv, load(d, at + d_head), s1);
      s2 = hn::MulAdd(qv, load(d, at + 2 * d_head), s2);
      s3 = hn::MulAdd(qv, load(d, at + 3 * d_head), s3);
    }
    sums_of_4(d, s0, s1, s2, s3, scores + j);
  }
  for (; j < n_keys; ++j, k += d_head) {
    VF s0 = hn::Zero(d);
    for (size_t i = 0; i < n_vectors; ++i)
      s0 = hn::MulAdd(hn::LoadU(d, q + i * lanes), load(d, k + offset_of(i, lanes, d_head)), s0);
    scores[j] = hn::GetLane(hn::SumOfLanes(d, s0));
  }
}

// mix = alpha * mix + sum_j weights[j] * (row j of v).
template <class T>
HWY_INLINE void mix_values(const float* weights, const T* v, size_t n_keys, size_t d_head, float alpha, float* mix) {
  const DF d;
  const size_t lanes = hn::Lanes(d), n_vectors = (d_head + lanes - 1) / lanes;
  const VF factor = hn::Set(d, alpha);
  size_t i = 0;
  for (; i + 4 <= n_vectors; i += 4) {
    const T *at0 = v + offset_of(i, lanes, d_head), *at1 = v + offset_of(i + 1, lanes, d_head),
            *at2 = v + offset_of(i + 2, lanes, d_head), *at3 = v + offset_of(i + 3, lanes, d_head);
    float* const m = mix + i * lanes;
    VF m0 = hn::Mul(hn::LoadU(d, m), factor), m1 = hn::Mul(hn::LoadU(d, m + lanes), factor);
    VF m2 = hn::Mul(hn::LoadU(d, m + 2 * lanes), factor), m3 = hn::Mul(hn::LoadU(d, m + 3 * lanes), factor);
    for (size_t j = 0; j < n_keys; ++j) {
      const VF w = hn::Set(d, weights[j]);
      m0 = hn::MulAdd(w, load(d, at0 + j * d_head), m0);
      m1 = hn::MulAdd(w, load(d, at1 + j * d_head), m1);
      m2 = hn::MulAdd(w, load(d, at2 + j * d_head), m2);
      m3 = hn::MulAdd(w, load(d, at3 + j * d_head), m3);
    }
    hn::StoreU(m0, d, m);
    hn::StoreU(m1, d, m + lanes);
    hn::StoreU(m2, d, m + 2 * lanes);
    hn::StoreU(m3, d, m + 3 * lanes);
  }
  for (; i < n_vectors; ++i) {
    const T* at = v + offset_of(i, lanes, d_head);
    VF m0 = hn::Mul(hn::LoadU(d, mix + i * lanes), factor);
    for (size_t j = 0; j < n_keys; ++j) m0 = hn::MulAdd(hn::Set(d, weights[j]), load(d, at + j * d_head), m0);
    hn::StoreU(m0, d, mix + i * lanes);
  }
}

// Turns scores of keys begin, begin + 1, ... into weights; `scores` has room up to a whole vector.
// Returns alpha and updates max and sum, as weigh_wide does for each lane.
HWY_INLINE float weigh_narrow(const AttentionParams& params, float slope, float distance, float* scores, size_t n_keys,
                              float& max, float& sum) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const bool shaped = params.soft_cap > 0 || slope != 0;
  for (size_t j = n_keys; j % lanes != 0; ++j) scores[j] = kLowest;
  VF vmax = hn::Set(d, max);
  for (size_t j = 0; j < n_keys; j += lanes) {
    VF s = hn::LoadU(d, scores + j);
    if (shaped) {
      s = shape_score(d, s, params.soft_cap, hn::Set(d, slope), hn::Iota(d, distance + float(j)));
      if (j + lanes > n_keys) s = hn::IfThenElse(hn::FirstN(d, n_keys - j), s, hn::Set(d, kLowest));
      hn::StoreU(s, d, scores + j);
    }
    vmax = hn::Max(vmax, s);
  }
  const float new_max = hn::GetLane(hn::MaxOfLanes(d, vmax));
  const VF base = hn::Set(d, new_max == kLowest ? 0.0f : new_max);
  VF total = hn::Zero(d);
  for (size_t j = 0; j < n_keys; j += lanes) {
    const VF weight = exp(d, hn::Sub(hn::LoadU(d, scores + j), base));
    total = hn::Add(total, weight);
    hn::StoreU(weight, d, scores + j);
  }
  const float alpha = hn::GetLane(exp(d, hn::Sub(hn::Set(d, max), base)));
  sum = sum * alpha + hn::GetLane(hn::SumOfLanes(d, total));
  max = new_max;
  return alpha;
}

template <class T>
HWY_INLINE void attend_narrow(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial,
                              float* scratch) {
  const DF d;
  const KvView& kv = block.span->kv;
  const size_t lanes = hn::Lanes(d), d_head = kv.d_head, n_vectors = (d_head + lanes - 1) / lanes;
  const size_t padded = n_vectors * lanes, n_rows = block.n_rows;
  float* const queries = scratch;                   // [n_rows, padded]
  float* const mixes = queries + n_rows * padded;   // [n_rows, padded]
  float* const scores = mixes + n_rows * padded;    // [kTileKeys + lanes]
  float* const maxima = scores + kTileKeys + lanes; // [n_rows]
  float* const sums = maxima + n_rows;              // [n_rows]
  float* const k32 = sums + n_rows;                 // [kTileKeys, d_head]
  float* const v32 = k32 + kTileKeys * d_head;      // [kTileKeys, d_head]
  std::fill_n(queries, 2 * n_rows * padded, 0.0f);
  std::fill_n(maxima, n_rows, kLowest);
  std::fill_n(sums, n_rows, 0.0f);
  const size_t n_whole = d_head / lanes * lanes, n_tail = d_head - n_whole;
  for (size_t r = 0; r < n_rows; ++r) {
    const float* q = block.Q.row(block.row_in_q(r)).data() + block.head(r) * d_head;
    float* const to = queries + r * padded;
    for (size_t i = 0; i < n_whole; ++i) to[i] = q[i] * block.params->scale;
    for (size_t i = 0; i < n_tail; ++i) to[padded - n_tail + i] = q[n_whole + i] * block.params->scale;
  }
  // One row takes its keys and values through this.
  const auto take = [&](size_t r, const auto& tile) HWY_ATTR {
    const size_t pos = block.pos(r);
    const size_t begin = std::max(tile.begin, block.first_key(r));
    const size_t end = std::min(tile.begin + tile.n_keys, pos + 1);
    if (begin >= end) return;
    const size_t skip = (begin - tile.begin) * d_head;
    const float slope = block.params->alibi_slopes.empty() ? 0.0f : block.params->alibi_slopes[block.head(r)];
    dot_keys(queries + r * padded, tile.k + skip, end - begin, d_head, scores);
    const float alpha = weigh_narrow(*block.params, slope, float(begin) - float(pos), scores, end - begin, maxima[r],
                                     sums[r]);
    mix_values(scores, tile.v + skip, end - begin, d_head, alpha, mixes + r * padded);
  };
  for_each_tile<T>(kv, block.kv_head, block.key_begin, block.key_end, [&](const Tile<T>& tile) HWY_ATTR {
    if (n_rows == 1) return take(0, tile);
    // Several rows: halves are converted once for all.
    const size_t n = tile.n_keys * d_head;
    const Tile<float> tile32{as_f32(tile.k, n, k32), as_f32(tile.v, n, v32), tile.begin, tile.n_keys};
    for (size_t r = 0; r < n_rows; ++r) take(r, tile32);
  });
  for (size_t r = 0; r < n_rows; ++r) {
    float* to = partial.rows ? partial.rows + r * d_head : out.row(block.row_in_q(r)).data() + block.head(r) * d_head;
    const VF factor = hn::Set(d, partial.rows ? 1.0f : 1.0f / sums[r]);
    for (size_t i = 0; i < n_vectors; ++i)
      hn::StoreU(hn::Mul(hn::LoadU(d, mixes + r * padded + i * lanes), factor), d, to + offset_of(i, lanes, d_head));
    if (partial.rows) {
      partial.max[r] = maxima[r];
      partial.sum[r] = sums[r];
    }
  }
}

template <class T>
HWY_INLINE void attend(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial,
                       float* scratch) {
  // The wide way costs the same for one row as for all: it pays from about half the lanes on.
  const size_t lanes = hn::Lanes(DF());
  if (block.n_rows * 2 <= lanes && block.span->kv.d_head >= lanes) return attend_narrow<T>(block, out, partial, scratch);
  attend_wide<T>(block, out, partial, scratch);
}

void AttendBlock(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial, float* scratch) {
  if (block.span->kv.dtype == DType::kF16) return attend<f16>(block, out, partial, scratch);
  attend<float>(block, out, partial, scratch);
}

size_t BlockRows() { return 2 * hn::Lanes(DF()); }
size_t BlockScratch(size_t d_head) {
  const size_t width = BlockRows();
  return 2 * d_head * width + kTileKeys * width + 2 * kTileKeys * d_head + 8 * width;
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace hunch {
HWY_EXPORT(AttendBlock);
HWY_EXPORT(BlockRows);
HWY_EXPORT(BlockScratch);

size_t attention_block_rows() { return HWY_DYNAMIC_DISPATCH(BlockRows)(); }
size_t attention_block_scratch(size_t d_head) { return HWY_DYNAMIC_DISPATCH(BlockScratch)(d_head); }
void attend_block(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial, float* scratch) {
  HWY_DYNAMIC_DISPATCH(AttendBlock)(block, out, partial, scratch);
}

}  // namespace hunch
#endif  // HWY_ONCE
