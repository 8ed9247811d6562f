// Attention for few rows (decode): a lane is an element of the head.
//
// Each row in turn takes the tile, which stays in cache: dot products with K, then a weighted sum of V.
// Where d_head is no multiple of the lanes, the last vector overlaps the one before, so that nothing past
// the row is read; its query lanes that were counted already are 0.
// clang-format off
#if defined(HUNCH_KERNELS_ATTENTION_NARROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_ATTENTION_NARROW_INL_H_
#undef HUNCH_KERNELS_ATTENTION_NARROW_INL_H_
#else
#define HUNCH_KERNELS_ATTENTION_NARROW_INL_H_
#endif
// clang-format on
#include "hwy/highway.h"
#include "kernels/attention_groups-inl.h"
#include "kernels/attention_tile-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

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

// scores[r][j] = dot(q[r], row j of k) for R rows; q laid out as attend_narrow does. A row's bits do not depend on R.
// Asks for `n_ahead` lines with every four keys.
template <size_t R, class T>
HWY_INLINE void dot_keys(const float* const* q, const T* k, size_t n_keys, size_t d_head, float* const* scores,
                         Lines& ahead, size_t n_ahead) {
  const DF d;
  const size_t lanes = hn::Lanes(d), n_vectors = (d_head + lanes - 1) / lanes;
  size_t j = 0;
  for (; j + 4 <= n_keys; j += 4, k += 4 * d_head) {
    ahead.ask(n_ahead);
    VF s[R][4];
    for (size_t r = 0; r < R; ++r) s[r][0] = s[r][1] = s[r][2] = s[r][3] = hn::Zero(d);
    for (size_t i = 0; i < n_vectors; ++i) {
      const T* const at = k + offset_of(i, lanes, d_head);
      const VF k0 = load(d, at), k1 = load(d, at + d_head), k2 = load(d, at + 2 * d_head),
               k3 = load(d, at + 3 * d_head);
      for (size_t r = 0; r < R; ++r) {
        const VF qv = hn::LoadU(d, q[r] + i * lanes);
        s[r][0] = hn::MulAdd(qv, k0, s[r][0]);
        s[r][1] = hn::MulAdd(qv, k1, s[r][1]);
        s[r][2] = hn::MulAdd(qv, k2, s[r][2]);
        s[r][3] = hn::MulAdd(qv, k3, s[r][3]);
      }
    }
    for (size_t r = 0; r < R; ++r) sums_of_4(d, s[r][0], s[r][1], s[r][2], s[r][3], scores[r] + j);
  }
  for (; j < n_keys; ++j, k += d_head)
    for (size_t r = 0; r < R; ++r) {
      VF s0 = hn::Zero(d);
      for (size_t i = 0; i < n_vectors; ++i)
        s0 = hn::MulAdd(hn::LoadU(d, q[r] + i * lanes), load(d, k + offset_of(i, lanes, d_head)), s0);
      scores[r][j] = hn::GetLane(hn::SumOfLanes(d, s0));
    }
}

// mix[r] = alpha[r] * mix[r] + sum_j weights[r][j] * (row j of v) for R rows, V vectors of them from vector i on. Asks
// for `n_ahead` lines with every value.
template <size_t R, size_t V, class T>
HWY_INLINE void mix_vectors(const float* const* weights, const T* v, size_t n_keys, size_t d_head, const float* alpha,
                            float* const* mix, size_t i, Lines& ahead, size_t n_ahead) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  VF m[R][V];
  const T* at[V];
  for (size_t n = 0; n < V; ++n) at[n] = v + offset_of(i + n, lanes, d_head);
  for (size_t r = 0; r < R; ++r)
    for (size_t n = 0; n < V; ++n) m[r][n] = hn::Mul(hn::LoadU(d, mix[r] + (i + n) * lanes), hn::Set(d, alpha[r]));
  for (size_t j = 0; j < n_keys; ++j) {
    ahead.ask(n_ahead);
    VF value[V];
    for (size_t n = 0; n < V; ++n) value[n] = load(d, at[n] + j * d_head);
    for (size_t r = 0; r < R; ++r) {
      const VF w = hn::Set(d, weights[r][j]);
      for (size_t n = 0; n < V; ++n) m[r][n] = hn::MulAdd(w, value[n], m[r][n]);
    }
  }
  for (size_t r = 0; r < R; ++r)
    for (size_t n = 0; n < V; ++n) hn::StoreU(m[r][n], d, mix[r] + (i + n) * lanes);
}

template <size_t R, class T>
HWY_INLINE void mix_values(const float* const* weights, const T* v, size_t n_keys, size_t d_head, const float* alpha,
                           float* const* mix, Lines& ahead, size_t n_ahead) {
  const size_t lanes = hn::Lanes(DF()), n_vectors = (d_head + lanes - 1) / lanes;
  size_t i = 0;
  for (; i + 4 <= n_vectors; i += 4) mix_vectors<R, 4>(weights, v, n_keys, d_head, alpha, mix, i, ahead, n_ahead);
  for (; i < n_vectors; ++i) mix_vectors<R, 1>(weights, v, n_keys, d_head, alpha, mix, i, ahead, n_ahead);
}

// What a row sees of consecutive keys: all of them, the first at this distance from it.
struct SeenRun {
  static constexpr bool kMasked = false;
  float distance;
  HWY_INLINE VF distances(DF d, size_t j) const { return hn::Iota(d, distance + float(j)); }
};
// What a row sees of listed keys: those at positions first to last.
struct SeenListed {
  static constexpr bool kMasked = true;
  const int32_t* positions;
  int32_t first, last, pos;  // pos: of the row itself
  HWY_INLINE VF distances(DF d, size_t j) const {
    const hn::RebindToSigned<DF> di;
    return hn::ConvertTo(d, hn::Sub(hn::LoadU(di, positions + j), hn::Set(di, pos)));
  }
  HWY_INLINE hn::Mask<DF> hidden(size_t j) const {
    const hn::RebindToSigned<DF> di;
    const auto key = hn::LoadU(di, positions + j);
    return hn::RebindMask(DF(), hn::Or(hn::Gt(key, hn::Set(di, last)), hn::Lt(key, hn::Set(di, first))));
  }
};

// The scores of keys j, ... as the model wants them: shaped, and -inf where hidden or past the last.
template <class Seen>
HWY_INLINE VF shown_scores(DF d, const AttentionParams& params, float slope, const Seen& seen, bool shaped,
                           const float* scores, size_t j, size_t n_keys) {
  const VF lowest = hn::Set(d, kLowest);
  VF s = hn::LoadU(d, scores + j);
  if (shaped) {
    s = shape_score(d, s, params.soft_cap, hn::Set(d, slope), seen.distances(d, j));
    if (j + hn::Lanes(d) > n_keys) s = hn::IfThenElse(hn::FirstN(d, n_keys - j), s, lowest);
  }
  if constexpr (Seen::kMasked) s = hn::IfThenElse(seen.hidden(j), lowest, s);
  return s;
}

// Turns scores of the keys that are `seen` into weights; `scores` has room up to a whole vector.
// Returns alpha and updates max and sum, as weigh_wide does for each lane.
template <class Seen>
HWY_INLINE float weigh_narrow(const AttentionParams& params, float slope, const Seen& seen, float* scores,
                              size_t n_keys, float& max, float& sum) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  const bool shaped = params.soft_cap > 0 || slope != 0;
  for (size_t j = n_keys; j % lanes != 0; ++j) scores[j] = kLowest;
  VF vmax = hn::Set(d, max);
  for (size_t j = 0; j < n_keys; j += lanes) {
    const VF s = shown_scores(d, params, slope, seen, shaped, scores, j, n_keys);
    if (shaped || Seen::kMasked) hn::StoreU(s, d, scores + j);
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

// Queries as dot_keys takes them: scaled, and their last vector moved as the keys' is. `to` [n_rows, padded] holds
// zeros.
HWY_INLINE void begin_narrow(const AttentionBlock& block, size_t padded, float* to) {
  const size_t lanes = hn::Lanes(DF()), d_head = block.span->kv.d_head;
  const size_t n_whole = d_head / lanes * lanes, n_tail = d_head - n_whole;
  for (size_t r = 0; r < block.n_rows; ++r, to += padded) {
    const float* q = block.Q.row(block.row_in_q(r)).data() + block.head(r) * d_head;
    for (size_t i = 0; i < n_whole; ++i) to[i] = q[i] * block.params->scale;
    for (size_t i = 0; i < n_tail; ++i) to[padded - n_tail + i] = q[n_whole + i] * block.params->scale;
  }
}

HWY_INLINE float slope_of(const AttentionBlock& block, size_t r) {
  return block.params->alibi_slopes.empty() ? 0.0f : block.params->alibi_slopes[block.head(r)];
}

HWY_INLINE SeenListed seen_by(const AttentionBlock& block, size_t r, const int32_t* positions) {
  return {positions, int32_t(block.first_key(r)), int32_t(block.last_key(r)), int32_t(block.pos(r))};
}

// Keys in groups of codes.
template <size_t kNumBits>
struct InGroups {
  static constexpr size_t kBits = kNumBits;
};

// T: float or f16, read where they lie, InGroups, or void: keys are listed.
template <class T>
HWY_INLINE void attend_narrow(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial,
                              float* scratch) {
  const DF d;
  const KvView& kv = block.span->kv;
  const size_t lanes = hn::Lanes(d), d_head = kv.d_head, n_vectors = (d_head + lanes - 1) / lanes;
  const size_t padded = n_vectors * lanes, n_rows = block.n_rows;
  const size_t room = kTileKeys + lanes;           // for the scores of a row
  float* const queries = scratch;                  // [n_rows, padded]
  float* const mixes = queries + n_rows * padded;  // [n_rows, padded]
  float* const scores = mixes + n_rows * padded;   // [n_rows, room]
  float* const maxima = scores + n_rows * room;    // [n_rows]
  float* const sums = maxima + n_rows;             // [n_rows]
  float* const alphas = sums + n_rows;             // [n_rows]
  float* const k32 = alphas + n_rows;              // [kTileKeys, d_head]
  float* const v32 = k32 + kTileKeys * d_head;     // [kTileKeys, d_head]
  std::fill_n(queries, 2 * n_rows * padded, 0.0f);
  std::fill_n(maxima, n_rows, kLowest);
  std::fill_n(sums, n_rows, 0.0f);
  begin_narrow(block, padded, queries);
  const auto weigh = [&](size_t r, size_t n_keys, const auto& seen) HWY_ATTR {
    alphas[r] = weigh_narrow(*block.params, slope_of(block, r), seen, scores + r * room, n_keys, maxima[r], sums[r]);
  };
  // What is asked for ahead while a tile is taken: so many lines with four keys, or with a value.
  NextTile next;
  size_t k_ahead = 0, v_ahead = 0;
  // Rows r to r + R take keys and values.
  const auto dot = [&]<size_t R>(std::integral_constant<size_t, R>, size_t r, const auto& k, size_t n_keys) HWY_ATTR {
    const float* q[R];
    float* to[R];
    for (size_t i = 0; i < R; ++i) q[i] = queries + (r + i) * padded, to[i] = scores + (r + i) * room;
    dot_keys<R>(q, k, n_keys, d_head, to, next.k, k_ahead);
  };
  const auto mix = [&]<size_t R>(std::integral_constant<size_t, R>, size_t r, const auto& v, size_t n_keys) HWY_ATTR {
    const float* weights[R];
    float* to[R];
    for (size_t i = 0; i < R; ++i) weights[i] = scores + (r + i) * room, to[i] = mixes + (r + i) * padded;
    mix_values<R>(weights, v, n_keys, d_head, alphas + r, to, next.v, v_ahead);
  };
  // each(R, r): all rows, two at a time, so that keys and values are loaded once for both.
  const auto for_rows = [&](size_t first, size_t end, const auto& each) HWY_ATTR {
    for (; first + 2 <= end; first += 2) each(std::integral_constant<size_t, 2>(), first);
    if (first < end) each(std::integral_constant<size_t, 1>(), first);
  };
  if constexpr (std::is_void_v<T>) {
    for_each_listed_tile(block, k32, v32, [&](const ListedTile& tile) HWY_ATTR {
      for_rows(0, n_rows, [&](auto R, size_t r) HWY_ATTR { dot(R, r, tile.k, tile.n_keys); });
      for (size_t r = 0; r < n_rows; ++r) weigh(r, tile.n_keys, seen_by(block, r, tile.positions));
      for_rows(0, n_rows, [&](auto R, size_t r) HWY_ATTR { mix(R, r, tile.v, tile.n_keys); });
    });
  } else {
    // Rows [first, end), all of one token.
    const auto take_seen = [&](size_t first, size_t end, const auto& tile) HWY_ATTR {
      const size_t pos = block.pos(first), key = std::max(tile.begin, block.first_key(first));
      const size_t key_end = std::min(tile.begin + tile.n_keys, block.last_key(first) + 1);
      if (key >= key_end) return;
      const size_t skip = (key - tile.begin) * d_head, n_keys = key_end - key;
      for_rows(first, end, [&](auto R, size_t r) HWY_ATTR { dot(R, r, tile.k + skip, n_keys); });
      for (size_t r = first; r < end; ++r) weigh(r, n_keys, SeenRun{float(key) - float(pos)});
      for_rows(first, end, [&](auto R, size_t r) HWY_ATTR { mix(R, r, tile.v + skip, n_keys); });
    };
    const auto take_all = [&](const auto& tile) HWY_ATTR {
      for (size_t first = 0, end = 0; first < n_rows; first = end) {
        for (end = first + 1; end < n_rows && block.token(end) == block.token(first);) ++end;
        take_seen(first, end, tile);
      }
    };
    const auto look_ahead = [&](const NextTile& after, size_t n_keys) HWY_ATTR {
      next = after;
      const size_t n_times = (n_rows + 1) / 2 * n_keys;  // pairs of rows with keys
      k_ahead = (4 * next.k.n + n_times - 1) / n_times;
      v_ahead = (next.v.n + n_times - 1) / n_times;
    };
    const auto take_rows = [&](const auto& tile, const NextTile& after) HWY_ATTR {
      look_ahead(after, tile.n_keys);
      if (n_rows == 1) return take_seen(0, 1, tile);
      // Several rows: halves are converted once for all.
      const size_t n = tile.n_keys * d_head;
      take_all(Tile<float>{as_f32(tile.k, n, k32), as_f32(tile.v, n, v32), tile.begin, tile.n_keys});
    };
    if constexpr (requires { T::kBits; }) {
      for_each_group<T::kBits>(block, k32, [&](const auto& tile, const NextTile& after) HWY_ATTR {
        if constexpr (requires { tile.k.group; }) {
          look_ahead(after, tile.n_keys);
          take_all(tile);
        } else {
          take_rows(tile, after);
        }
      });
    } else {
      for_each_tile<T>(kv, block.kv_head, block.key_begin, block.key_end, take_rows);
    }
  }
  for (size_t r = 0; r < n_rows; ++r) {
    float* to = partial.rows ? partial.rows + r * d_head : out.row(block.row_in_q(r)).data() + block.head(r) * d_head;
    if (!partial.rows) sums[r] = with_sink(block, r, maxima[r], sums[r]);
    const VF factor = hn::Set(d, partial.rows ? 1.0f : inverse_or_0(sums[r]));
    for (size_t i = 0; i < n_vectors; ++i)
      hn::StoreU(hn::Mul(hn::LoadU(d, mixes + r * padded + i * lanes), factor), d, to + offset_of(i, lanes, d_head));
    if (partial.max) {
      partial.max[r] = maxima[r];
      partial.sum[r] = sums[r];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
