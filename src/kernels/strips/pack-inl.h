// From rows to strips. formats/strip_shape.h describes them.
#if defined(HUNCH_KERNELS_STRIPS_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_STRIPS_PACK_INL_H_
#undef HUNCH_KERNELS_STRIPS_PACK_INL_H_
#else
#define HUNCH_KERNELS_STRIPS_PACK_INL_H_
#endif
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "formats/k_scales.h"
#include "hwy/highway.h"
#include "kernels/formats/all-inl.h"
#include "kernels/strips/strip-inl.h"
#include "kernels/transpose4-inl.h"

#if HUNCH_INT8_SIMD
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {
namespace strip {

// Copies f16 member `at` of up to n_blocks blocks of each row to out[block][row]; row[r] null: no such row.
template <class F>
void PackHalves(const std::byte* const* row, size_t at, size_t n_blocks, std::byte* out) {
  for (size_t b = 0; b < n_blocks; ++b)
    for (size_t r = 0; r < kStripRows; ++r)
      if (row[r]) std::memcpy(out + 2 * (b * kStripRows + r), row[r] + b * sizeof(typename F::Block) + at, 2);
}

// The head, zero before, of a group of n_blocks blocks of the rows.
template <class F>
struct PackHead {
  static void Fill(const std::byte* const* row, size_t n_blocks, std::byte* head) {
    using Block = typename F::Block;
    PackHalves<F>(row, offsetof(Block, d), n_blocks, head);
    if constexpr (F::kFormat.has_min) PackHalves<F>(row, offsetof(Block, min), n_blocks, head + 64);
  }
};

template <class F>
void PackSixBitScales(const std::byte* const* row, std::byte* head) {
  using Block = typename F::Block;
  PackHalves<F>(row, offsetof(Block, d), 1, head);
  PackHalves<F>(row, offsetof(Block, d_min), 1, head + 32);
  for (size_t r = 0; r < kStripRows; ++r) {
    if (!row[r]) continue;
    uint8_t scale[8], min[8], packed[12];
    std::memcpy(packed, row[r] + offsetof(Block, scales), sizeof packed);
    unpack_scales(packed, scale, min);
    auto* out = reinterpret_cast<uint8_t*>(head + 64) + r;
    for (size_t j = 0; j < 8; ++j) out[j * kStripRows] = uint8_t((scale[j] & 15) | (min[j] & 15) << 4);
    for (size_t j = 0; j < 4; ++j)
      out[(8 + j) * kStripRows] =
          uint8_t(scale[j] >> 4 | min[j] >> 4 << 2 | scale[j + 4] >> 4 << 4 | min[j + 4] >> 4 << 6);
  }
}
template <>
struct PackHead<format::Q4_K> {
  static void Fill(const std::byte* const* row, size_t, std::byte* head) { PackSixBitScales<format::Q4_K>(row, head); }
};
template <>
struct PackHead<format::Q5_K> {
  static void Fill(const std::byte* const* row, size_t, std::byte* head) { PackSixBitScales<format::Q5_K>(row, head); }
};
template <>
struct PackHead<format::Q6_K> {
  static void Fill(const std::byte* const* row, size_t, std::byte* head) {
    using Block = format::Q6_K::Block;
    for (size_t r = 0; r < kStripRows; ++r)
      for (size_t j = 0; j < 16 && row[r]; ++j) head[j * kStripRows + r] = row[r][offsetof(Block, scales) + j];
    PackHalves<format::Q6_K>(row, offsetof(Block, d), 1, head + 256);
  }
};

// The codes of a block of 32 columns, line k of `lines` holding columns 4 k .. 4 k + 3 of the rows, a byte each.
template <size_t kBits>
void PackBlock(const uint8_t* lines, std::byte* out) {
  auto* to = reinterpret_cast<uint8_t*>(out);
  for (size_t at = 0; at < 64; at += kSliceBytes) {
    VU8 u[8];
    for (size_t k = 0; k < 8; ++k) u[k] = hn::Load(DU8(), lines + 64 * k + at);
    if constexpr (kBits == 8) {
      for (size_t k = 0; k < 8; ++k) hn::StoreU(u[k], DU8(), to + 64 * k + at);
    } else {
      const VU8 low = hn::Set(DU8(), uint8_t(15));
      for (size_t k = 0; k < 4; ++k)
        hn::StoreU(hn::Or(hn::And(u[k], low), LeftMasked<4>(u[k + 4], 0xf0)), DU8(), to + 64 * k + at);
      if constexpr (kBits == 5) {
        VU8 high = RightMasked<4>(u[0], 1);
        high = hn::Or(high, RightMasked<3>(u[1], 2));
        high = hn::Or(high, RightMasked<2>(u[2], 4));
        high = hn::Or(high, RightMasked<1>(u[3], 8));
        high = hn::Or(high, hn::And(u[4], hn::Set(DU8(), uint8_t(16))));
        high = hn::Or(high, LeftMasked<1>(u[5], 32));
        high = hn::Or(high, LeftMasked<2>(u[6], 64));
        high = hn::Or(high, LeftMasked<3>(u[7], 128));
        hn::StoreU(high, DU8(), to + 256 + at);
      }
      if constexpr (kBits == 6) {
        for (size_t half = 0; half < 2; ++half) {
          const VU8* q = u + 4 * half;
          VU8 high = hn::Or(RightMasked<4>(q[0], 3), RightMasked<2>(q[1], 12));
          high = hn::Or(high, hn::Or(hn::And(q[2], hn::Set(DU8(), uint8_t(48))), LeftMasked<2>(q[3], 0xc0)));
          hn::StoreU(high, DU8(), to + 256 + 64 * half + at);
        }
      }
    }
  }
}

// Rows [first, first + 16) of W, of which those past its end are zeros.
template <class F>
void PackStrip(const WeightView& W, size_t first, std::byte* strip) {
  constexpr StripCodes s = StripShape<F>::kCodes;
  constexpr size_t kBlockElems = F::kFormat.block_elems, kBlockBytes = F::kFormat.block_bytes;
  Unpacked u[kStripRows];
  std::memset(u, 0, sizeof u);
  alignas(64) uint8_t lines[64 * 64];
  const size_t n_rows = std::min(kStripRows, W.rows - first);
  for (size_t from = 0; from < W.cols; from += 256) {
    const size_t n = std::min<size_t>(256, W.cols - from);
    const size_t padded = (n + s.columns - 1) / s.columns * s.columns;
    const std::byte* row[kStripRows] = {};
    for (size_t r = 0; r < n_rows; ++r) {
      row[r] = W.row(first + r) + from / kBlockElems * kBlockBytes;
      UnpackGroup<Simd<F>>(row[r], n, u[r]);
      std::memset(u[r].q + n, 0, padded - n);
    }
    const Four d4;
    for (size_t r = 0; r < kStripRows; r += 4)
      for (size_t k = 0; k < padded; k += 16) {
        const auto load = [&](size_t i)
                              HWY_ATTR { return hn::Load(d4, reinterpret_cast<const uint32_t*>(u[r + i].q + k)); };
        Transpose4x4(load(0), load(1), load(2), load(3), reinterpret_cast<uint32_t*>(lines + 16 * k) + r, 16);
      }
    const VU8 offset = hn::Set(DU8(), uint8_t(s.offset));
    for (size_t i = 0; i < 16 * padded; i += kSliceBytes)
      hn::Store(hn::Add(hn::Load(DU8(), lines + i), offset), DU8(), lines + i);
    for (size_t at = 0; at < padded; at += s.columns, strip += s.group_bytes()) {
      const size_t n_blocks = (std::min(n, at + s.columns) - at) / kBlockElems;
      std::memset(strip, 0, s.head_bytes);
      PackHead<F>::Fill(row, n_blocks, strip);
      for (size_t b = 0; b < s.n_blocks(); ++b)
        PackBlock<s.bits>(lines + 16 * (at + 32 * b), strip + s.head_bytes + b * s.block_bytes());
      for (size_t r = 0; r < n_rows; ++r) row[r] += s.columns / kBlockElems * kBlockBytes;
    }
  }
}

}  // namespace strip
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_INT8_SIMD
#endif
