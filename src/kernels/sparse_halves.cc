#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sparse_halves.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/sparse_dot.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "formats/strip_shape.h"
#include "kernels/dot_int8-inl.h"
#include "kernels/dot_targets.h"
#include "kernels/promote_f16-inl.h"
#include "kernels/sparse/blocks.h"
#include "kernels/sparse/places.h"
#include "kernels/strips/strip-inl.h"
#include "kernels/transpose4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
#if HUNCH_INT8_SIMD

using DRows = hn::CappedTag<float, kStripRows>;
using VRows = hn::Vec<DRows>;
constexpr size_t kRowsOfVector = hn::MaxLanes(DRows()), kVectors = kStripRows / kRowsOfVector;

// Takes the values of a strip of f16 column by column.
class Columns {
 public:
  explicit Columns(MaskedBlocks::Block block) : masks_(block.masks), values_(block.values) {}
  const std::byte* end() const { return values_; }  // of the block, once its 32 columns are taken

#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  HWY_INLINE void Next(VRows (&w)[kVectors]) {
    const auto [mask, halves] = Take();
    w[0] = VRows{_mm512_mask_expand_ps(_mm512_castsi512_ps(Zeros()), mask, _mm512_cvtph_ps(halves))};
  }
  HWY_INLINE void Next(uint16_t* halves16) {
    const auto [mask, halves] = Take();
    const __m512i placed = _mm512_mask_expand_epi32(Zeros(), mask, _mm512_cvtepu16_epi32(halves));
    _mm256_store_si256(reinterpret_cast<__m256i*>(halves16), _mm512_cvtepi32_epi16(placed));
  }

 private:
  struct Taken {
    __mmask16 mask;
    __m256i halves;
  };
  // That compilers do not know as such: expansions that zero what they leave out take five times as long on Zen 5 as
  // those that leave what was there.
  static HWY_INLINE __m512i Zeros() {
    __m512i zeros = _mm512_setzero_si512();
    asm("" : "+v"(zeros));
    return zeros;
  }
  HWY_INLINE Taken Take() {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values_));
    const uint16_t mask = NextMask();
    values_ += 2 * size_t(_mm_popcnt_u32(mask));  // (hwy::PopCount calls a function)
    return {mask, halves};
  }
#else
  HWY_INLINE void Next(VRows (&w)[kVectors]) {
    HWY_ALIGN uint16_t halves[kStripRows];
    Next(halves);
    const DRows d;
    const hn::Rebind<hwy::float16_t, DRows> d16;
    for (size_t v = 0; v < kVectors; ++v)
      w[v] = PromoteF16(d, hn::Load(d16, reinterpret_cast<const hwy::float16_t*>(halves) + v * kRowsOfVector));
  }
  HWY_INLINE void Next(uint16_t* halves16) {
    const uint16_t mask = NextMask();
    Place(mask & 255, halves16);
    Place(mask >> 8, halves16 + 8);
  }

 private:
  // Eight rows: each place of a value is that of two bytes, and where there is none one that look-ups answer with 0.
  HWY_INLINE void Place(size_t mask, uint16_t* to) {
    const hn::Full128<uint8_t> d8;
    const hn::Full64<uint8_t> half;
    const auto place = hn::ZeroExtendVector(d8, hn::LoadU(half, kPlaces.of[mask]));
    const auto low = hn::Add(place, place);
    const auto both = hn::InterleaveLower(d8, low, hn::Add(low, hn::Set(d8, uint8_t(1))));
    const auto none = hn::And(both, hn::Set(d8, uint8_t(16)));
    const hn::Full128<uint16_t> d16;
    const auto index = hn::Or(both, hn::BitCast(d8, hn::ShiftLeft<3>(hn::BitCast(d16, none))));
    const auto values = hn::LoadU(d8, reinterpret_cast<const uint8_t*>(values_));
    hn::Store(hn::BitCast(d16, hn::TableLookupBytesOr0(values, index)), d16, to);
    values_ += 2 * size_t{kPlaces.count[mask]};
  }
#endif

 private:
  HWY_INLINE uint16_t NextMask() {
    uint16_t mask;
    std::memcpy(&mask, masks_, 2);
    masks_ += 2;
    return mask;
  }
  const std::byte *masks_, *values_;
};

// y[t][row] += the strip's rows . x[t], for M tokens. Even and odd columns have sums of their own, whatever M is.
template <size_t M>
HWY_NOINLINE void MultiplyHalves(const std::byte* strip, size_t n_in, StripPrefetch ahead, const float* const* x,
                                 float* const* y) {
  const DRows d;
  VRows sum[2][kVectors][M];
  for (size_t v = 0; v < kVectors; ++v)
    for (size_t t = 0; t < M; ++t) {
      sum[0][v][t] = hn::LoadU(d, y[t] + v * kRowsOfVector);
      sum[1][v][t] = hn::Zero(d);
    }
  MaskedBlocks blocks(strip, n_in / 32);
  for (size_t at = 0; at < n_in; at += 32) {
    const std::byte* begin = blocks.at();
    Columns columns(blocks.next());
    for (size_t c = at; c < at + 32; c += 2) HWY_UNROLL(2) for (size_t odd = 0; odd < 2; ++odd) {
        VRows w[kVectors];
        columns.Next(w);
        HWY_UNROLL(8) for (size_t t = 0; t < M; ++t) {
          const VRows xv = hn::Set(d, x[t][c + odd]);
          HWY_UNROLL(4) for (size_t v = 0; v < kVectors; ++v) sum[odd][v][t] = hn::MulAdd(w[v], xv, sum[odd][v][t]);
        }
      }
    blocks.end(columns.end());
    strip::AskAhead(ahead, begin, size_t(columns.end() - begin));
  }
  for (size_t v = 0; v < kVectors; ++v)
    for (size_t t = 0; t < M; ++t) hn::StoreU(hn::Add(sum[0][v][t], sum[1][v][t]), d, y[t] + v * kRowsOfVector);
}

#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
constexpr size_t kMostTokens = 8;
#else
constexpr size_t kMostTokens = 2;
#endif

void DotHalves(const SparseStrips& W, MatView<const float> X, const float* bias, MatView<float> Y, size_t begin,
               size_t end) {
  const StripPrefetch ahead = sparse_prefetch();
  alignas(64) float y[kMostTokens][kStripRows];
  for (size_t i = begin; i < end; ++i) {
    const std::byte* strip = W.data + W.offsets[i];
    const size_t row = i * kStripRows, n_rows = std::min(kStripRows, W.rows - row);
    for (size_t first = 0; first < X.rows;) {
      const size_t n = std::min(X.rows - first, kMostTokens);
      const size_t n_computed = n <= 2 ? n : n <= 4 ? 4 : kMostTokens;
      const float* own[kMostTokens];
      float* sums[kMostTokens];
      for (size_t t = 0; t < n_computed; ++t) {
        own[t] = X.row(first + std::min(t, n - 1)).data();  // past n: repeated, and its result dropped
        sums[t] = y[t];
        for (size_t r = 0; r < kStripRows; ++r) y[t][r] = bias && r < n_rows ? bias[row + r] : 0.0f;
      }
      if (n_computed == 1) {
        MultiplyHalves<1>(strip, W.cols, ahead, own, sums);
      } else if (n_computed == 2) {
        MultiplyHalves<2>(strip, W.cols, ahead, own, sums);
      } else if constexpr (kMostTokens > 4) {
        n_computed == 4 ? MultiplyHalves<4>(strip, W.cols, ahead, own, sums)
                        : MultiplyHalves<kMostTokens>(strip, W.cols, ahead, own, sums);
      }
      for (size_t t = 0; t < n; ++t) std::memcpy(Y.data + (first + t) * Y.row_stride + row, y[t], n_rows * 4);
      first += n;
    }
  }
}

// Two columns beside each other, then blocks of four pairs of four rows turned.
void ExpandHalves(const SparseStrips& W, size_t i, std::byte* out) {
  HWY_ALIGN uint16_t column[2][kStripRows];
  HWY_ALIGN uint32_t pairs[16][kStripRows];
  HWY_ALIGN uint32_t rows[kStripRows][16];
  const hn::Full128<uint16_t> d16;
  const hn::Full128<uint32_t> d32;
  const std::byte* strip = W.data + W.offsets[i];
  const size_t n_rows = std::min(kStripRows, W.rows - i * kStripRows);
  MaskedBlocks blocks(strip, W.cols / 32);
  for (size_t at = 0; at < W.cols; at += 32) {
    Columns columns(blocks.next());
    for (size_t k = 0; k < 16; ++k) {
      columns.Next(column[0]);
      columns.Next(column[1]);
      for (size_t r = 0; r < kStripRows; r += 8) {
        const auto even = hn::Load(d16, column[0] + r), odd = hn::Load(d16, column[1] + r);
        hn::Store(hn::BitCast(d32, hn::InterleaveLower(d16, even, odd)), d32, &pairs[k][r]);
        hn::Store(hn::BitCast(d32, hn::InterleaveUpper(d16, even, odd)), d32, &pairs[k][r + 4]);
      }
    }
    for (size_t r = 0; r < kStripRows; r += 4)
      for (size_t k = 0; k < 16; k += 4) {
        const auto load = [&](size_t j) HWY_ATTR { return hn::Load(d32, &pairs[k + j][r]); };
        Transpose4x4(load(0), load(1), load(2), load(3), &rows[r][k], 16);
      }
    for (size_t r = 0; r < n_rows; ++r) std::memcpy(out + 2 * (r * W.cols + at), rows[r], 64);
    blocks.end(columns.end());
  }
}

#else
void DotHalves(const SparseStrips&, MatView<const float>, const float*, MatView<float>, size_t, size_t) {
  HUNCH_CHECK(false, "no strips on this target");
}
void ExpandHalves(const SparseStrips&, size_t, std::byte*) { HUNCH_CHECK(false, "no strips on this target"); }
#endif

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hunch {
HWY_EXPORT(DotHalves);
HWY_EXPORT(ExpandHalves);

void dot_halves(const SparseStrips& W, MatView<const float> X, const float* bias, MatView<float> Y, size_t begin,
                size_t end) {
  HWY_DYNAMIC_DISPATCH(DotHalves)(W, X, bias, Y, begin, end);
}
void expand_halves(const SparseStrips& W, size_t i, std::byte* out) { HWY_DYNAMIC_DISPATCH(ExpandHalves)(W, i, out); }
}  // namespace hunch
#endif
