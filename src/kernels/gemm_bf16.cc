#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_bf16.cc"
#include "kernels/gemm_bf16.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dot_targets.h"
#include "kernels/tiles/pairs-inl.h"
#include "kernels/tiles/transpose-inl.h"

#if HUNCH_TILES
HUNCH_BEFORE_TILES();
namespace hunch {
namespace HWY_NAMESPACE {
namespace bf16 {

using tiles::FirstLanes;

// Two neighbours of the depth are one pair of 32 bits. Lanes are columns of Y: the micro-kernel has sums of kTokens
// rows and two vectors of columns in 24 of the 32 registers.
constexpr size_t kTokens = 12;
constexpr size_t kDepth = 256, kPairs = kDepth / 2;
constexpr size_t kWidth = 256;               // columns of a panel, which has 128 KB then
constexpr size_t kStripPairs = kPairs * 16;  // of sixteen columns

// packed[chunk of kDepth][tile][token][pair]
size_t PackedPairs(size_t n, size_t k) {
  return (k + kDepth - 1) / kDepth * ((n + kTokens - 1) / kTokens) * kTokens * kPairs;
}

// Pairs of rows k, k + 1 of a matrix with the depth along its rows: columns [column, column + n), n <= 16, `left` of
// the depth from k on.
HWY_INLINE __m512i PairsOfRows(MatView<const float> m, size_t k, size_t left, size_t column, size_t n) {
  const __mmask16 lanes = FirstLanes(n);
  const float* at = m.data + k * m.row_stride + column;
  const __m512 first = _mm512_maskz_loadu_ps(lanes, at),
               second = left > 1 ? _mm512_maskz_loadu_ps(lanes, at + m.row_stride) : _mm512_setzero_ps();
  return tiles::Pairs(first, second);
}

// Sixteen pairs of one row with the depth along its columns, n of its values.
HWY_INLINE __m512i PairsOfColumns(const float* at, size_t n) {
  return tiles::Rounded(_mm512_maskz_loadu_ps(FirstLanes(n), at),
                        _mm512_maskz_loadu_ps(FirstLanes(n > 16 ? n - 16 : 0), n > 16 ? at + 16 : at));
}

void PackA(const Bf16Product& p, size_t begin, size_t end, uint32_t* packed) {
  const size_t n_tiles = (p.Y.rows + kTokens - 1) / kTokens;
  alignas(64) uint32_t turned[16][16];
  for (size_t from = 0; from < p.depth(); from += kDepth) {
    const size_t depth = std::min(kDepth, p.depth() - from);
    for (size_t tile = begin; tile < end; ++tile) {
      uint32_t* out = packed + (from / kDepth * n_tiles + tile) * kTokens * kPairs;
      const size_t first = tile * kTokens, n = std::min(kTokens, p.Y.rows - first);
      if (n < kTokens) std::memset(out, 0, kTokens * kPairs * sizeof(uint32_t));
      for (size_t k = 0; k < depth; k += 32) {
        if (!p.A_turned) {
          for (size_t t = 0; t < n; ++t)
            _mm512_storeu_si512(out + t * kPairs + k / 2,
                                PairsOfColumns(p.A.data + (first + t) * p.A.row_stride + from + k, depth - k));
          continue;
        }
        __m512i lines[16];
        HWY_UNROLL(16)
        for (size_t i = 0; i < 16; ++i)
          lines[i] = k + 2 * i < depth ? PairsOfRows(p.A, from + k + 2 * i, depth - k - 2 * i, first, n)
                                       : _mm512_setzero_si512();
        tiles::Transpose16(lines, reinterpret_cast<std::byte*>(turned));
        for (size_t t = 0; t < n; ++t) std::memcpy(out + t * kPairs + k / 2, turned[t], sizeof turned[t]);
      }
    }
  }
}

// panel[strip of 16 columns][pair][column]: columns [column, column + n) of B, `depth` of its depth from `from` on.
void PackB(const Bf16Product& p, size_t from, size_t depth, size_t column, size_t n, uint32_t* panel) {
  const size_t n_strips = (n + 31) / 32 * 2;
  for (size_t strip = 0; strip < n_strips; ++strip, panel += kStripPairs) {
    const size_t first = column + 16 * strip, width = n > 16 * strip ? std::min<size_t>(16, n - 16 * strip) : 0;
    if (!p.B_turned) {
      for (size_t k = 0; k < depth; k += 2)
        _mm512_store_si512(panel + k / 2 * 16,
                           width > 0 ? PairsOfRows(p.B, from + k, depth - k, first, width) : _mm512_setzero_si512());
      continue;
    }
    for (size_t k = 0; k < depth; k += 32) {
      __m512i rows[16];
      HWY_UNROLL(16)
      for (size_t r = 0; r < 16; ++r)
        rows[r] = r < width ? PairsOfColumns(p.B.data + (first + r) * p.B.row_stride + from + k, depth - k)
                            : _mm512_setzero_si512();
      tiles::Transpose16(rows, reinterpret_cast<std::byte*>(panel + k / 2 * 16));
    }
  }
}

// y[t][0 .. 32) = or += sum over pairs of w times x[t], for the first M rows of a tile.
template <size_t M>
HWY_NOINLINE void MultiplyTile(const uint32_t* w, const uint32_t* x, size_t n_pairs, bool adds, float* const* y) {
  __m512 sum0[M], sum1[M];
  HWY_UNROLL(16) for (size_t t = 0; t < M; ++t) {
    sum0[t] = adds ? _mm512_loadu_ps(y[t]) : _mm512_setzero_ps();
    sum1[t] = adds ? _mm512_loadu_ps(y[t] + 16) : _mm512_setzero_ps();
  }
  for (size_t k = 0; k < n_pairs; ++k) {
    const auto w0 = (__m512bh)_mm512_load_si512(w + 16 * k), w1 = (__m512bh)_mm512_load_si512(w + kStripPairs + 16 * k);
    HWY_UNROLL(16) for (size_t t = 0; t < M; ++t) {
      const auto xv = (__m512bh)_mm512_set1_epi32(int(x[t * kPairs + k]));
      sum0[t] = _mm512_dpbf16_ps(sum0[t], w0, xv);
      sum1[t] = _mm512_dpbf16_ps(sum1[t], w1, xv);
    }
  }
  HWY_UNROLL(16) for (size_t t = 0; t < M; ++t) {
    _mm512_storeu_ps(y[t], sum0[t]);
    _mm512_storeu_ps(y[t] + 16, sum1[t]);
  }
}

// All rows of Y times one panel.
void MultiplyPanel(const Bf16Product& p, const uint32_t* packed, size_t column, size_t n_columns, size_t n_pairs,
                   bool adds, const uint32_t* panel) {
  alignas(64) float partial[kTokens][32];
  for (size_t first = 0; first < p.Y.rows; first += kTokens) {
    const size_t n = std::min(kTokens, p.Y.rows - first);
    const uint32_t* x = packed + first * kPairs;
    for (size_t c = 0; c < n_columns; c += 32) {
      const size_t width = std::min<size_t>(32, n_columns - c);
      const auto to = [&](size_t t) { return p.Y.data + (first + t) * p.Y.row_stride + column + c; };
      float* y[kTokens];
      for (size_t t = 0; t < kTokens; ++t) {
        y[t] = t < n && width == 32 ? to(t) : partial[t];
        if (t < n && width < 32 && adds) std::memcpy(partial[t], to(t), width * sizeof(float));
      }
      const uint32_t* w = panel + c / 16 * kStripPairs;
      if (n > 8) {
        MultiplyTile<kTokens>(w, x, n_pairs, adds, y);
      } else if (n > 4) {
        MultiplyTile<8>(w, x, n_pairs, adds, y);
      } else {
        MultiplyTile<4>(w, x, n_pairs, adds, y);
      }
      for (size_t t = 0; t < n && width < 32; ++t) std::memcpy(to(t), partial[t], width * sizeof(float));
    }
  }
}

void Columns(const Bf16Product& p, const uint32_t* packed, size_t begin, size_t end, uint32_t* panel) {
  const size_t chunk_pairs = (p.Y.rows + kTokens - 1) / kTokens * kTokens * kPairs;
  for (size_t column = begin; column < end; column += kWidth) {
    const size_t n = std::min(kWidth, end - column);
    for (size_t from = 0; from < p.depth(); from += kDepth) {
      const size_t depth = std::min(kDepth, p.depth() - from);
      PackB(p, from, depth, column, n, panel);
      MultiplyPanel(p, packed + from / kDepth * chunk_pairs, column, n, (depth + 1) / 2, p.adds || from > 0, panel);
    }
  }
}

}  // namespace bf16

bool MultipliesBf16() { return has_avx512_bf16(); }
size_t Bf16Tile() { return bf16::kTokens; }
size_t Bf16PackedBytes(size_t n, size_t k) { return bf16::PackedPairs(n, k) * sizeof(uint32_t); }
size_t Bf16PanelBytes() { return bf16::kWidth * bf16::kPairs * sizeof(uint32_t); }
void Bf16PackA(const Bf16Product& p, size_t begin, size_t end, std::byte* packed) {
  bf16::PackA(p, begin, end, reinterpret_cast<uint32_t*>(packed));
}
void Bf16Columns(const Bf16Product& p, const std::byte* packed, size_t begin, size_t end, std::byte* panel) {
  bf16::Columns(p, reinterpret_cast<const uint32_t*>(packed), begin, end, reinterpret_cast<uint32_t*>(panel));
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HUNCH_AFTER_TILES();

#else
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
bool MultipliesBf16() { return false; }
size_t Bf16Tile() { return 1; }
size_t Bf16PackedBytes(size_t, size_t) { return 0; }
size_t Bf16PanelBytes() { return 0; }
void Bf16PackA(const Bf16Product&, size_t, size_t, std::byte*) { HUNCH_CHECK(false, "no products of bf16"); }
void Bf16Columns(const Bf16Product&, const std::byte*, size_t, size_t, std::byte*) {
  HUNCH_CHECK(false, "no products of bf16");
}
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_TILES

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(MultipliesBf16);
HWY_EXPORT(Bf16Tile);
HWY_EXPORT(Bf16PackedBytes);
HWY_EXPORT(Bf16PanelBytes);
HWY_EXPORT(Bf16PackA);
HWY_EXPORT(Bf16Columns);

namespace {

constexpr size_t kColumnUnit = 32;  // that the micro-kernel has

// Throws nothing that a caller can cause: shapes are ours.
void check(const Bf16Product& p) {
  const size_t k = p.depth(), n = p.A_turned ? p.A.cols : p.A.rows, m = p.B_turned ? p.B.rows : p.B.cols,
               k_of_B = p.B_turned ? p.B.cols : p.B.rows;
  HUNCH_CHECK(k == k_of_B && n == p.Y.rows && m == p.Y.cols, "[{}, {}] times [{}, {}] into [{}, {}]", n, k, k_of_B, m,
              p.Y.rows, p.Y.cols);
  HUNCH_CHECK(multiplies_bf16(), "no products of bf16");
}

// A sum of nothing.
bool is_empty(const Bf16Product& p) {
  if (p.Y.rows == 0 || p.Y.cols == 0) return true;
  if (p.depth() > 0) return false;
  for (size_t t = 0; t < p.Y.rows && !p.adds; ++t) std::ranges::fill(p.Y.row(t), 0.0f);
  return true;
}

}  // namespace

bool multiplies_bf16() { return HWY_DYNAMIC_DISPATCH(MultipliesBf16)(); }

void multiply_bf16(Compute& compute, const Bf16Product& p) {
  check(p);
  if (is_empty(p)) return;
  const Arena::Scope scope(compute.arena);
  const size_t tile = HWY_DYNAMIC_DISPATCH(Bf16Tile)(), n_threads = compute.threads.n_threads();
  std::byte* packed = compute.arena.take<std::byte>(HWY_DYNAMIC_DISPATCH(Bf16PackedBytes)(p.Y.rows, p.depth())).data();
  compute.threads.parallel_for((p.Y.rows + tile - 1) / tile, 1, [&](size_t begin, size_t end) {
    HWY_DYNAMIC_DISPATCH(Bf16PackA)(p, begin, end, packed);
  });
  const size_t panel_bytes = HWY_DYNAMIC_DISPATCH(Bf16PanelBytes)();
  std::byte* panels = compute.arena.take<std::byte>(panel_bytes * n_threads).data();
  // About four pieces for each thread, of whole strips and at most a panel.
  const size_t width =
      std::clamp((p.Y.cols / (4 * n_threads) + kColumnUnit - 1) / kColumnUnit * kColumnUnit, kColumnUnit, size_t{256});
  compute.threads.parallel_for_dynamic(p.Y.cols, width, [&](size_t begin, size_t end, size_t thread) {
    HWY_DYNAMIC_DISPATCH(Bf16Columns)(p, packed, begin, end, panels + thread * panel_bytes);
  });
}

}  // namespace hunch
#endif
