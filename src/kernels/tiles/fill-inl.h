// Panels for the products in tiles: 32 rows of W, up to kTileDepth columns, decoded to bf16. A tile is a step of 32
// columns of sixteen rows, line i holding columns 2 i and 2 i + 1 of each:
//   [part][strip of sixteen rows][step][16 lines][16 rows][2 columns]
#if defined(HUNCH_KERNELS_TILES_FILL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_TILES_FILL_INL_H_
#undef HUNCH_KERNELS_TILES_FILL_INL_H_
#else
#define HUNCH_KERNELS_TILES_FILL_INL_H_
#endif
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "formats/strip_shape.h"
#include "formats/weight_view.h"
#include "hwy/highway.h"
#include "kernels/formats/decode-inl.h"
#include "kernels/gemm_tiles.h"
#include "kernels/strips/floats-inl.h"
#include "kernels/strips/strip-inl.h"
#include "kernels/tiles/pairs-inl.h"
#include "kernels/tiles/transpose-inl.h"

#if HUNCH_TILES
HUNCH_BEFORE_TILES();
namespace hunch {
namespace HWY_NAMESPACE {
namespace tiles {

// Fills panels piece by piece, so that the vector units work while the tiles multiply the panel before.
template <class F, size_t kParts>
class RowFiller {
 public:
  // From now on: columns [from, from + depth) of 32 rows of W, `row` on; rows past W's are zeros.
  void begin(const WeightView& W, size_t row, size_t from, size_t depth, std::byte* panel) {
    W_ = &W, row_ = row, from_ = from, depth_ = depth, panel_ = panel;
    n_steps_ = (depth + 31) / 32;
    next_ = 0;
    n_pieces_ = 2 * (16 + n_steps_);
    has_lower_ = false;
  }
  size_t n_pieces() const { return n_pieces_; }
  bool some_left() const { return next_ < n_pieces_; }
  // Does the next piece, if there is one: decodes a row, or transposes a step of sixteen.
  HWY_INLINE void operator()() {
    if (some_left()) Piece();
  }
  // Whether anything is left of the panel's weights in its lower parts.
  bool has_lower() const { return has_lower_; }

 private:
  HWY_NOINLINE void Piece() {
    const size_t half = next_ / (n_pieces_ / 2), i = next_ % (n_pieces_ / 2);
    ++next_;
    if (i < 16) {
      const size_t row = row_ + 16 * half + i;
      const size_t filled = row < W_->rows ? depth_ : 0;
      if (filled) DecodeRow<F>(W_->row(row) + row_bytes(F::kFormat.dtype, from_), depth_, decoded_[i]);
      std::fill(decoded_[i] + filled, decoded_[i] + 32 * n_steps_, 0.0f);
    } else {
      Transpose(i - 16, panel_ + half * kStripOfPanel + (i - 16) * kTileBytes);
    }
  }
  HWY_INLINE void Transpose(size_t step, std::byte* to) {
    __m512i upper[16], lower[16], any_lower = _mm512_setzero_si512();
    HWY_UNROLL(16) for (size_t r = 0; r < 16; ++r) {
      const __m512 a = _mm512_load_ps(decoded_[r] + 32 * step), b = _mm512_load_ps(decoded_[r] + 32 * step + 16);
      upper[r] = Rounded(a, b);
      if constexpr (kParts == 2) {
        lower[r] = RoundedLeft(a, b, upper[r]);
        any_lower = _mm512_or_si512(any_lower, lower[r]);
      }
    }
    Transpose16(upper, to);
    if constexpr (kParts == 2) Transpose16(lower, to + kPartOfPanel);
    has_lower_ |= _mm512_test_epi32_mask(any_lower, any_lower) != 0;
  }

  const WeightView* W_ = nullptr;
  size_t row_ = 0, from_ = 0, depth_ = 0, n_steps_ = 0, next_ = 0, n_pieces_ = 0;
  std::byte* panel_ = nullptr;
  bool has_lower_ = false;
  alignas(64) float decoded_[16][kTileDepth];
};

// Block b of a group of a strip as a step of a panel. Called with b = 0 first.
template <class F>
class IntegerStep {
 public:
  HWY_INLINE void operator()(const std::byte* group, size_t b, std::byte* out) {
    if (b == 0) scales_.Read(group);
    const __m512i byte = _mm512_set1_epi32(255);
    strip::VU8 u[8];
    strip::Codes<kCodes.bits>(group + kCodes.head_bytes + b * kCodes.block_bytes(), u);
    HWY_UNROLL(2) for (size_t sub = 0; sub < kNSub; ++sub) {
      const __m512 scale = scales_.Scale(b * kNSub + sub, 0).raw;
      __m512 none = _mm512_mul_ps(scale, _mm512_set1_ps(-float(kCodes.offset)));
      if constexpr (F::kFormat.has_min) none = _mm512_sub_ps(none, scales_.Min(b * kNSub + sub, 0).raw);
      HWY_UNROLL(8) for (size_t k = sub * kQuads; k < (sub + 1) * kQuads; ++k) {
        const __m512i q = u[k].raw;
        const auto weight = [&](__m512i code)
                                HUNCH_TILES_ATTR { return _mm512_fmadd_ps(_mm512_cvtepi32_ps(code), scale, none); };
        const __m512 w0 = weight(_mm512_and_si512(q, byte));
        const __m512 w1 = weight(_mm512_and_si512(_mm512_srli_epi32(q, 8), byte));
        const __m512 w2 = weight(_mm512_and_si512(_mm512_srli_epi32(q, 16), byte));
        const __m512 w3 = weight(_mm512_srli_epi32(q, 24));
        StoreLine(Pairs(w0, w1), out + 2 * k * kLineBytes);
        StoreLine(Pairs(w2, w3), out + (2 * k + 1) * kLineBytes);
      }
    }
  }

 private:
  static constexpr StripCodes kCodes = StripShape<F>::kCodes;
  static constexpr size_t kNSub = strip::StripScales<F>::kNSub, kQuads = 8 / kNSub;
  strip::StripScales<F> scales_;
};

// The same of a format whose numbers are floats.
template <class F>
struct FloatStep {
  HWY_INLINE void operator()(const std::byte* group, size_t b, std::byte* out) {
    using Lines = strip::FloatLines<F>;
    constexpr StripCodes s = StripShape<F>::kCodes;
    const __m512 factor = Lines::Factor(group, 0).raw;
    HWY_UNROLL(8) for (size_t line = 0; line < 32 / Lines::kColumns; ++line) {
      strip::VF w[Lines::kColumns];
      Lines::Load(group + s.head_bytes + b * s.block_bytes() + 64 * line, 0, w);
      HWY_UNROLL(4)
      for (size_t i = 0; i < Lines::kColumns; i += 2)
        StoreLine(Pairs(_mm512_mul_ps(w[i].raw, factor), _mm512_mul_ps(w[i + 1].raw, factor)),
                  out + Lines::Column(line, i) / 2 * kLineBytes);
    }
  }
};

// The same from strips, whose lanes are rows already.
template <class F>
class StripFiller {
 public:
  void begin(const WeightView& W, size_t row, size_t from, size_t depth, std::byte* panel) {
    W_ = &W, row_ = row, from_ = from, panel_ = panel;
    n_steps_ = (depth + 31) / 32;
    next_ = 0;
  }
  size_t n_pieces() const { return 2 * n_steps_; }
  bool some_left() const { return next_ < n_pieces(); }
  // Decodes a step of sixteen rows.
  HWY_INLINE void operator()() {
    if (some_left()) Piece();
  }
  bool has_lower() const { return false; }

 private:
  HWY_NOINLINE void Piece() {
    constexpr StripCodes s = StripShape<F>::kCodes;
    const size_t half = next_ / n_steps_, step = next_ % n_steps_;
    std::byte* out = panel_ + half * kStripOfPanel + step * kTileBytes;
    const size_t row = row_ + 16 * half;
    ++next_;
    if (row >= W_->rows) {
      std::memset(out, 0, kTileBytes);
      return;
    }
    const std::byte* strip = W_->strips + row / kStripRows * W_->strip_stride_bytes;
    step_(strip + (from_ + 32 * step) / s.columns * s.group_bytes(), step % s.n_blocks(), out);
  }

  const WeightView* W_ = nullptr;
  size_t row_ = 0, from_ = 0, n_steps_ = 0, next_ = 0;
  std::byte* panel_ = nullptr;
  std::conditional_t<FloatFormat<F>, FloatStep<F>, IntegerStep<F>> step_;
};

// The panels of a transposed product: columns [column, column + n_columns) of W, rows [from, from + depth). Returns
// whether anything is in the lower parts.
template <class F, size_t kParts>
HWY_NOINLINE bool FillTransposed(const WeightView& W, size_t column, size_t n_columns, size_t from, size_t depth,
                                 std::byte* panel) {
  alignas(64) float row[2][kTileTransposedColumns];
  std::memset(row, 0, sizeof row);
  __m512i any_lower = _mm512_setzero_si512();
  const size_t n_strips = (n_columns + 15) / 16, padded = (depth + 31) / 32 * 32;
  // Each row gives a few lines, far from those of the next: no prefetcher of the processor's sees them coming.
  constexpr size_t kRowsAhead = 16;
  const size_t first_byte = row_bytes(F::kFormat.dtype, column), n_bytes = row_bytes(F::kFormat.dtype, n_columns);
  const auto ask = [&](size_t row) {
    if (row >= W.rows) return;
    for (size_t at = 0; at < n_bytes + 63; at += 64)
      __builtin_prefetch(W.row(row) + first_byte + std::min(at, n_bytes));
  };
  for (size_t k = 0; k < padded; k += 2) {
    ask(from + k + kRowsAhead);
    ask(from + k + kRowsAhead + 1);
    for (size_t i = 0; i < 2; ++i) {
      if (k + i < depth) {
        DecodeRow<F>(W.row(from + k + i) + first_byte, n_columns, row[i]);
      } else {
        std::memset(row[i], 0, sizeof row[i]);
      }
    }
    std::byte* line = panel + k / 2 * kLineBytes;
    for (size_t s = 0; s < n_strips; ++s) {
      const __m512 a = _mm512_load_ps(row[0] + 16 * s), b = _mm512_load_ps(row[1] + 16 * s);
      const __m512i upper = Pairs(a, b);
      std::byte* to = line + s / 2 * kParts * kPartOfPanel + s % 2 * kStripOfPanel;
      StoreLine(upper, to);
      if constexpr (kParts == 2) {
        const __m512i lower = Pairs(Left(a, LowerHalf(upper)), Left(b, UpperHalf(upper)));
        any_lower = _mm512_or_si512(any_lower, lower);
        StoreLine(lower, to + kPartOfPanel);
      }
    }
    if (n_strips % 2)
      for (size_t part = 0; part < kParts; ++part)
        StoreLine(_mm512_setzero_si512(),
                  line + n_strips / 2 * kParts * kPartOfPanel + kStripOfPanel + part * kPartOfPanel);
  }
  return _mm512_test_epi32_mask(any_lower, any_lower) != 0;
}

}  // namespace tiles
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HUNCH_AFTER_TILES();
#endif  // HUNCH_TILES
#endif
