// Attention for very many rows in AMX tiles: blocks of 32 rows as in attention_wide-inl.h, several of which share keys
// and values that were made bf16. Scores are K times the queries, the mix of values is V transposed times the weights;
// factors are taken in two parts of bf16 (kernels/tiles/pairs-inl.h), of which the product of the lower ones is left
// out, or those of the mix in one (AttentionTiles).
#if defined(HUNCH_KERNELS_ATTENTION_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_ATTENTION_TILES_INL_H_
#undef HUNCH_KERNELS_ATTENTION_TILES_INL_H_
#else
#define HUNCH_KERNELS_ATTENTION_TILES_INL_H_
#endif
#include "hwy/highway.h"
#include "kernels/attention_wide-inl.h"
#include "kernels/tiles/multiply-inl.h"
#include "kernels/tiles/pairs-inl.h"
#include "kernels/tiles/transpose-inl.h"

#if HUNCH_TILES
HUNCH_BEFORE_TILES();
namespace hunch {
namespace HWY_NAMESPACE {
namespace tiles {

constexpr size_t kWideRows = 32;  // of a block: 2 * Lanes
constexpr size_t kWideBlocks = kAttentionTileRows / kWideRows;
constexpr size_t kStepValues = TileX::kStepValues;  // of a tile: 16 lines of 32 values of bf16
constexpr size_t kKeySteps = kTileKeys / 32;

// Tiles of both parts of bf16, [part][strip][step]: a strip is 16 of what the sums have in a direction, a step 32 of
// what is summed over.
struct Operand {
  uint16_t* data = nullptr;
  size_t n_strips = 0, n_steps = 0;

  size_t part() const { return n_strips * n_steps * kStepValues; }
  uint16_t* tile(size_t strip, size_t step = 0) const { return data + (strip * n_steps + step) * kStepValues; }
  Panel panel() const {
    return {reinterpret_cast<const std::byte*>(data), n_steps * kTileBytes, n_strips * n_steps * kTileBytes};
  }
};

// One block of 32 rows.
struct TilesOfRows {
  AttentionBlock block;
  WideState state;  // whose mix has whole tiles of rows
  Operand queries;
};

// All blocks and what they share, in the caller's scratch.
struct TilesState {
  TilesOfRows rows[kWideBlocks];
  size_t n = 0;
  Operand keys, values, weights;
  float *k = nullptr, *v = nullptr;  // [kTileKeys, d_head] listed keys and values, decoded
};

// Hands out parts of the scratch, or counts them.
struct Scratch {
  float* memory;
  size_t n_floats = 0;

  float* take(size_t n) {
    float* p = memory ? memory + n_floats : nullptr;
    n_floats += (n + 15) / 16 * 16;
    return p;
  }
  Operand operand(size_t n_strips, size_t n_steps) {
    Operand o{nullptr, n_strips, n_steps};
    o.data = reinterpret_cast<uint16_t*>(take(2 * o.part() / 2));
    return o;
  }
};

inline void lay_out(TilesState& s, size_t d_head, Scratch& scratch) {
  const size_t d_steps = (d_head + 31) / 32, d_strips = (d_head + 15) / 16;
  s.keys = scratch.operand(kTileKeys / 16, d_steps);
  s.values = scratch.operand(d_strips, kKeySteps);
  s.weights = scratch.operand(2, kKeySteps);
  s.k = scratch.take(kTileKeys * d_head);
  s.v = scratch.take(kTileKeys * d_head);
  float* const q = scratch.take(d_head * kWideRows);
  float* const scores = scratch.take(kTileKeys * kWideRows);
  for (TilesOfRows& rows : s.rows) {
    rows.state.q = q, rows.state.scores = scores;
    rows.state.mix = scratch.take(16 * d_strips * kWideRows);
    for (float** line : {&rows.state.max, &rows.state.sum, &rows.state.alpha, &rows.state.slope})
      *line = scratch.take(kWideRows);
    rows.state.pos = reinterpret_cast<int32_t*>(scratch.take(kWideRows));
    rows.state.first = reinterpret_cast<int32_t*>(scratch.take(kWideRows));
    rows.queries = scratch.operand(2, d_steps);
  }
}

// from [n, 32 rows] as the right-hand factor of a product that sums over n: pairs of neighbours side by side, nothing
// but zeros after n.
template <size_t kParts>
HWY_NOINLINE void PackPairs(const float* from, size_t n, const Operand& to) {
  for (size_t i = 0; i < to.n_steps * 16; ++i)
    for (size_t strip = 0; strip < 2; ++strip) {
      const float* at = from + 2 * i * kWideRows + 16 * strip;
      const __m512 a = 2 * i < n ? _mm512_loadu_ps(at) : _mm512_setzero_ps();
      const __m512 b = 2 * i + 1 < n ? _mm512_loadu_ps(at + kWideRows) : _mm512_setzero_ps();
      const __m512i upper = Pairs(a, b);
      uint16_t* line = to.tile(strip) + i * 32;
      _mm512_store_si512(line, upper);
      if constexpr (kParts == 2)
        _mm512_store_si512(line + to.part(), Pairs(Left(a, LowerHalf(upper)), Left(b, UpperHalf(upper))));
    }
}

HWY_INLINE __m512 LoadLanes(const float* p, size_t n) { return _mm512_maskz_loadu_ps(FirstLanes(n), p); }
HWY_INLINE __m512 LoadLanes(const f16* p, size_t n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(FirstLanes(n), p));
}

// Rows of K as the left-hand factor: as they lie.
template <class T>
HWY_NOINLINE void PackKeys(const T* const* rows, size_t n_keys, size_t d_head, const Operand& to) {
  for (size_t j = 0; j < n_keys; ++j)
    for (size_t step = 0; step < to.n_steps; ++step) {
      const size_t n = std::min<size_t>(32, d_head - 32 * step);
      const T* from = rows[j] + 32 * step;
      const __m512 first = LoadLanes(from, n), second = n > 16 ? LoadLanes(from + 16, n - 16) : _mm512_setzero_ps();
      const __m512i upper = Rounded(first, second);
      uint16_t* line = to.tile(j / 16, step) + j % 16 * 32;
      _mm512_store_si512(line, upper);
      _mm512_store_si512(line + to.part(), RoundedLeft(first, second, upper));
    }
}

// Rows of V, transposed, as the left-hand factor; zeros after n_keys, up to a whole step.
template <size_t kParts, class T>
HWY_NOINLINE void PackValues(const T* const* rows, size_t n_keys, size_t d_head, const Operand& to) {
  for (size_t step = 0; step < (n_keys + 31) / 32; ++step)
    for (size_t strip = 0; strip < to.n_strips; ++strip) {
      const size_t n = std::min<size_t>(16, d_head - 16 * strip);
      __m512i upper[16], lower[16];
      for (size_t i = 0; i < 16; ++i) {
        const size_t j = 32 * step + 2 * i;
        const __m512 a = j < n_keys ? LoadLanes(rows[j] + 16 * strip, n) : _mm512_setzero_ps();
        const __m512 b = j + 1 < n_keys ? LoadLanes(rows[j + 1] + 16 * strip, n) : _mm512_setzero_ps();
        upper[i] = Pairs(a, b);
        if constexpr (kParts == 2) lower[i] = Pairs(Left(a, LowerHalf(upper[i])), Left(b, UpperHalf(upper[i])));
      }
      uint16_t* tile = to.tile(strip, step);
      Transpose16(upper, reinterpret_cast<std::byte*>(tile));
      if constexpr (kParts == 2) Transpose16(lower, reinterpret_cast<std::byte*>(tile + to.part()));
    }
}

// to [16 strips of A, 32 rows] = A B, or += where it `adds`: the sums of n_steps steps.
template <size_t kParts>
HWY_NOINLINE void MultiplyWide(const Operand& A, size_t n_strips, const Operand& B, size_t n_steps, bool adds,
                               float* to) {
  alignas(64) float zeros[16] = {};
  const SumsPlace none{{zeros, zeros, zeros, zeros}, 0};
  const auto nothing = [] {};
  for (size_t i = 0; i < n_strips; i += 2, to += 32 * kWideRows) {
    const SumsPlace there{{to, to + 16, to + 16 * kWideRows, to + 16 * kWideRows + 16}, kWideRows * sizeof(float)};
    if (i + 1 < n_strips) {
      MultiplyPair<kParts, kParts, true>(A.tile(i), A.tile(i + 1), A.part(), B.panel(), n_steps, adds ? there : none,
                                         there, nothing);
    } else {
      MultiplyPair<kParts, kParts, false>(A.tile(i), A.tile(i), A.part(), B.panel(), n_steps, adds ? there : none,
                                          there, nothing);
    }
  }
}

// mix *= alpha of each row; mostly 1.
HWY_INLINE void Rescale(const WideState& s, size_t n) {
  const __m512 lo = _mm512_loadu_ps(s.alpha), hi = _mm512_loadu_ps(s.alpha + 16), one = _mm512_set1_ps(1);
  if ((_mm512_cmpneq_ps_mask(lo, one) | _mm512_cmpneq_ps_mask(hi, one)) == 0) return;
  for (float* at = s.mix; n > 0; --n, at += kWideRows) {
    _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_loadu_ps(at), lo));
    _mm512_storeu_ps(at + 16, _mm512_mul_ps(_mm512_loadu_ps(at + 16), hi));
  }
}

// n_keys keys, whose tiles are in s, for the rows that see some of them.
template <size_t kMixParts, class Keys>
HWY_INLINE void AttendRows(const TilesState& s, const TilesOfRows& rows, size_t n_keys, Keys keys, bool masked) {
  MultiplyWide<2>(s.keys, (n_keys + 15) / 16, rows.queries, s.keys.n_steps, false, rows.state.scores);
  const auto weigh = is_shaped(*rows.block.params)
                         ? (masked ? weigh_wide<true, true, Keys> : weigh_wide<true, false, Keys>)
                         : (masked ? weigh_wide<false, true, Keys> : weigh_wide<false, false, Keys>);
  weigh(rows.block, rows.state, keys, n_keys);
  PackPairs<kMixParts>(rows.state.scores, n_keys, s.weights);
  Rescale(rows.state, 16 * s.values.n_strips);
  MultiplyWide<kMixParts>(s.values, s.values.n_strips, s.weights, (n_keys + 31) / 32, true, rows.state.mix);
}

// Up to kTileKeys keys from `begin` on, of pages side by side or not.
template <class T>
size_t TakeKeys(const AttentionBlock& block, size_t begin, const T** k, const T** v) {
  const KvView& kv = block.span->kv;
  const size_t end = std::min(block.key_end, begin + kTileKeys);
  size_t n = 0;
  for (size_t j = begin; j < end;) {
    const std::byte* row = key_row(block, j, kv.d_head * sizeof(T));
    for (const size_t page_end = std::min(end, (j / kv.page_tokens + 1) * kv.page_tokens); j < page_end; ++j, ++n) {
      k[n] = reinterpret_cast<const T*>(row);
      v[n] = reinterpret_cast<const T*>(row + kv.v_offset_bytes);
      row += kv.d_head * sizeof(T);
    }
  }
  return n;
}

template <size_t kMixParts, class T>
void AttendConsecutive(const AttentionBlock& block, const TilesState& s) {
  const size_t d_head = block.span->kv.d_head;
  const T *k[2][kTileKeys], *v[2][kTileKeys];
  size_t n = TakeKeys(block, block.key_begin, k[0], v[0]);
  for (size_t begin = block.key_begin, at = 0; n > 0; at = 1 - at) {
    PackKeys(k[at], n, d_head, s.keys);
    PackValues<kMixParts>(v[at], n, d_head, s.values);
    const size_t n_next = TakeKeys(block, begin + n, k[1 - at], v[1 - at]);
    for (size_t j = 0; j < n_next; ++j) prefetch(k[1 - at][j], d_head), prefetch(v[1 - at][j], d_head);
    for (size_t i = 0; i < s.n; ++i) {
      const AttentionBlock& own = s.rows[i].block;
      const size_t last = own.n_rows - 1;
      if (begin > own.last_key(last) || begin + n <= own.first_key(0)) continue;
      const bool masked = begin + n > own.last_key(0) + 1 || begin < own.first_key(last);
      AttendRows<kMixParts>(s, s.rows[i], n, Consecutive{begin}, masked);
    }
    begin += n, n = n_next;
  }
}

template <size_t kMixParts>
void AttendListed(const AttentionBlock& block, const TilesState& s) {
  const size_t d_head = block.span->kv.d_head;
  for_each_listed_tile(block, s.k, s.v, [&](const ListedTile& tile) HUNCH_TILES_ATTR {
    const float *k[kTileKeys], *v[kTileKeys];
    for (size_t j = 0; j < tile.n_keys; ++j) k[j] = tile.k + j * d_head, v[j] = tile.v + j * d_head;
    PackKeys(k, tile.n_keys, d_head, s.keys);
    PackValues<kMixParts>(v, tile.n_keys, d_head, s.values);
    for (size_t i = 0; i < s.n; ++i) AttendRows<kMixParts>(s, s.rows[i], tile.n_keys, Listed{tile.positions}, true);
  });
}

template <size_t kMixParts>
void AttendKeys(const AttentionBlock& block, const TilesState& s) {
  if (block.is_listed) {
    AttendListed<kMixParts>(block, s);
  } else if (block.span->kv.dtype == DType::kF16) {
    AttendConsecutive<kMixParts, f16>(block, s);
  } else {
    AttendConsecutive<kMixParts, float>(block, s);
  }
}

// At most kAttentionTileRows rows.
void AttendTiles(const AttentionBlock& block, MatView<float> out, const PartialAttention& partial, float* scratch) {
  const Configured configured;
  const size_t d_head = block.span->kv.d_head;
  TilesState s;
  Scratch rest{scratch};
  lay_out(s, d_head, rest);
  for (size_t row = 0; row < block.n_rows; row += kWideRows) {
    TilesOfRows& rows = s.rows[s.n++];
    rows.block = block;
    rows.block.first_row += row;
    rows.block.n_rows = std::min(kWideRows, block.n_rows - row);
    begin_wide(rows.block, rows.state);
    std::fill_n(rows.state.mix, 16 * s.values.n_strips * kWideRows, 0.0f);
    PackPairs<2>(rows.state.q, d_head, rows.queries);
  }
  block.params->tiles == AttentionTiles::kMixRounded ? AttendKeys<1>(block, s) : AttendKeys<2>(block, s);
  for (size_t i = 0; i < s.n; ++i) {
    PartialAttention part = partial;
    if (part.rows) part.rows += i * kWideRows * d_head;
    if (part.max) part.max += i * kWideRows, part.sum += i * kWideRows;
    end_wide(s.rows[i].block, s.rows[i].state, out, part);
  }
}

}  // namespace tiles
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HUNCH_AFTER_TILES();
#endif  // HUNCH_TILES
#endif
