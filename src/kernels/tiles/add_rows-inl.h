// Y += A W for the rows of W that lie along the outputs, and few tokens, in AMX tiles: a step of 32 rows is decoded to
// bf16, some hundred columns at a time, and multiplied at once, so that whole rows pass by as memory has them. The sums
// of all columns stay in the second cache, in tiles of sixteen columns.
#if defined(HUNCH_KERNELS_TILES_ADD_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_TILES_ADD_ROWS_INL_H_
#undef HUNCH_KERNELS_TILES_ADD_ROWS_INL_H_
#else
#define HUNCH_KERNELS_TILES_ADD_ROWS_INL_H_
#endif
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/checked_math.h"
#include "kernels/formats/decode-inl.h"
#include "kernels/gemv.h"
#include "kernels/tiles/multiply-inl.h"
#include "kernels/tiles/pairs-inl.h"

#if HUNCH_TILES
HUNCH_BEFORE_TILES();
namespace hunch {
namespace HWY_NAMESPACE {
namespace tiles {

constexpr size_t kChunk = 256;  // columns: whole blocks of every format

// Up to kChunk columns of a row, sixteen at a time; past the end zeros.
template <class F>
class PieceOfRow {
 public:
  HWY_INLINE void Read(const std::byte* row, size_t n) {
    if constexpr (FloatFormat<F>) {
      DecodeRow<F>(row, n, values_);
      std::fill(values_ + n, values_ + round_up(n, 16), 0.0f);
    } else {
      Simd<F>::Unpack(row, n, codes_);
    }
  }
  HWY_INLINE __m512 Sixteen(size_t at) const {
    if constexpr (FloatFormat<F>) {
      return _mm512_load_ps(values_ + at);
    } else {
      const __m512 q =
          _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes_.q + at))));
      const __m512 w = _mm512_mul_ps(_mm512_set1_ps(codes_.scale[at / Simd<F>::kSub]), q);
      if constexpr (Simd<F>::kHasMin) return _mm512_sub_ps(w, _mm512_set1_ps(codes_.min[at / Simd<F>::kSub]));
      return w;
    }
  }

 private:
  alignas(64) float values_[FloatFormat<F> ? kChunk : 1];
  Unpacked codes_;
};

template <class F, size_t kParts, size_t kXParts, size_t kTiles>
class RowAdder {
 public:
  // `sums`: [columns / 16][kTiles][16 tokens][16 columns], begun by the caller.
  RowAdder(const AxpyArgs& args, float* sums) : a_(args), sums_(sums) {}

  // Positions [begin, end). Tiles see what was stored only once it is in the cache: one piece is decoded while the one
  // before it is multiplied.
  void Run(size_t begin, size_t end) {
    size_t n_pieces = 0, last_strip = 0, last_n_strips = 0;
    for (size_t k = begin; k < end; k += kRows) {
      const size_t n = std::min(kRows, end - k), x = n_x_++ % 2;
      for (size_t step = 0; step < kSteps; ++step) FillX(k + 32 * step, n - std::min(n, 32 * step), x_[x][step]);
      for (size_t column = 0; column < a_.W.cols; column += kChunk, ++n_pieces) {
        const size_t n_columns = std::min(kChunk, a_.W.cols - column);
        Ask(k + kRows, std::min(end, k + 2 * kRows), column, n_columns);
        Fill(k, n, column, n_columns, panel_[n_pieces % 2]);
        if (n_pieces > 0) Multiply(x_[column == 0 ? 1 - x : x], panel_[1 - n_pieces % 2], last_strip, last_n_strips);
        last_strip = column / 16;
        last_n_strips = (n_columns + 15) / 16;
      }
    }
    if (n_pieces > 0) Multiply(x_[1 - n_x_ % 2], panel_[1 - n_pieces % 2], last_strip, last_n_strips);
  }

 private:
  const std::byte* Row(size_t k) const { return a_.W.row(a_.ids ? a_.ids[k] : k); }

  // The step after this one, in pieces of what this one takes meanwhile.
  void Ask(size_t k, size_t end, size_t column, size_t n_columns) const {
    const size_t first = row_bytes(F::kFormat.dtype, column), n_bytes = row_bytes(F::kFormat.dtype, n_columns);
    for (; k < end; ++k) {
      const std::byte* row = Row(k) + first;
      for (size_t at = 0; at < n_bytes; at += kLineBytes) __builtin_prefetch(row + at, 0, 2);
    }
  }

  static constexpr size_t kSteps = 1,
                          kRows = 32 * kSteps;  // between loading and storing the sums; 2 and 4 were no faster
  using X = uint16_t[kXParts][kTiles * 16][32];
  // A line more than a power of two, or the strips of a line would push each other out of the first cache.
  static constexpr size_t kStripStride = kSteps * kTileBytes + kLineBytes;
  using Panel = std::byte[kParts][kChunk / 16 * kStripStride];  // [part][strip][step]

  void FillX(size_t k, size_t n, X& to) const {
    const __mmask16 first = FirstLanes(n), second = FirstLanes(n > 16 ? n - 16 : 0);
    for (size_t t = 0; t < kTiles * 16; ++t) {
      __m512 x0 = _mm512_setzero_ps(), x1 = x0;
      if (t < a_.A.rows) {
        const float* x = a_.A.row(t).data() + k;
        x0 = _mm512_maskz_loadu_ps(first, x);
        x1 = _mm512_maskz_loadu_ps(second, x + (n > 16 ? 16 : 0));
      }
      const __m512i upper = Rounded(x0, x1);
      _mm512_store_si512(to[0][t], upper);
      if constexpr (kXParts == 2) _mm512_store_si512(to[kXParts - 1][t], RoundedLeft(x0, x1, upper));
    }
  }

  void Fill(size_t k, size_t n, size_t column, size_t n_columns, Panel& panel) {
    const size_t first = row_bytes(F::kFormat.dtype, column), n_strips = (n_columns + 15) / 16;
    for (size_t line = 0; line < 16 * kSteps; ++line) {
      std::byte* to = panel[0] + line * kLineBytes;
      if (2 * line >= n) {
        for (size_t s = 0; s < n_strips; ++s, to += kStripStride)
          for (size_t part = 0; part < kParts; ++part) _mm512_store_si512(to + part * sizeof panel[0], __m512i{});
        continue;
      }
      // Past the last row: the last once more, which meets zeros of x, and has to be finite there as it has anywhere.
      const std::byte* rows[2] = {Row(k + 2 * line) + first, Row(k + std::min(2 * line + 1, n - 1)) + first};
      for (size_t i = 0; i < 2; ++i) decoded_[i].Read(rows[i], n_columns);
      for (size_t s = 0; s < n_strips; ++s, to += kStripStride) {
        const __m512 a = decoded_[0].Sixteen(16 * s), b = decoded_[1].Sixteen(16 * s);
        const __m512i upper = Pairs(a, b);
        _mm512_store_si512(to, upper);
        if constexpr (kParts == 2)
          _mm512_store_si512(to + sizeof panel[0], Pairs(Left(a, LowerHalf(upper)), Left(b, UpperHalf(upper))));
      }
    }
  }

  void Multiply(const X (&x)[kSteps], const Panel& panel, size_t first_strip, size_t n_strips) {
    constexpr int kLine = kLineBytes;
    MemoryFence();
    for (size_t s = 0; s < n_strips; ++s) {
      float* sums = sums_ + (first_strip + s) * kTiles * kTileSums;
      _tile_loadd(0, sums, kLine);
      if constexpr (kTiles == 2) _tile_loadd(1, sums + kTileSums, kLine);
      for (size_t step = 0; step < kSteps; ++step) {
        const std::byte* w = panel[0] + s * kStripStride + step * kTileBytes;
        _tile_loadd(6, w, kLine);
        if constexpr (kParts == 2) _tile_loadd(7, w + sizeof panel[0], kLine);
        _tile_loadd(2, x[step][0][0], kLine);
        _tile_dpbf16ps(0, 2, 6);
        if constexpr (kParts == 2) _tile_dpbf16ps(0, 2, 7);
        if constexpr (kXParts == 2) {
          _tile_loadd(3, x[step][kXParts - 1][0], kLine);
          _tile_dpbf16ps(0, 3, 6);
        }
        if constexpr (kTiles == 2) {
          constexpr size_t kSecond = 16 * (kTiles - 1);
          _tile_loadd(4, x[step][0][kSecond], kLine);
          _tile_dpbf16ps(1, 4, 6);
          if constexpr (kParts == 2) _tile_dpbf16ps(1, 4, 7);
          if constexpr (kXParts == 2) {
            _tile_loadd(5, x[step][kXParts - 1][kSecond], kLine);
            _tile_dpbf16ps(1, 5, 6);
          }
        }
      }
      _tile_stored(0, sums, kLine);
      if constexpr (kTiles == 2) _tile_stored(1, sums + kTileSums, kLine);
    }
    MemoryFence();
  }

  const AxpyArgs& a_;
  float* sums_;
  size_t n_x_ = 0;
  alignas(64) X x_[2][kSteps];
  alignas(64) Panel panel_[2];
  PieceOfRow<F> decoded_[2];
};

template <class F, size_t kParts, size_t kXParts>
void AddRows(const AxpyArgs& args, size_t begin, size_t end, float* sums) {
  const auto run = [&](auto&& adder) HUNCH_TILES_ATTR { adder.Run(begin, end); };
  if (args.A.rows <= 16) {
    run(RowAdder<F, kParts, kXParts, 1>(args, sums));
  } else {
    run(RowAdder<F, kParts, kXParts, 2>(args, sums));
  }
}

}  // namespace tiles
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HUNCH_AFTER_TILES();
#endif  // HUNCH_TILES
#endif
