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
// scale_of(block, j) of each row's block, then d.
template <class F, size_t kSubs, class ScaleOf>
void PackSignedScales(const std::byte* const* row, std::byte* head, const ScaleOf& scale_of) {
  for (size_t r = 0; r < kStripRows; ++r) {
    if (!row[r]) continue;
    typename F::Block block;
    std::memcpy(&block, row[r], sizeof block);
    for (size_t j = 0; j < kSubs; ++j) head[j * kStripRows + r] = std::byte(scale_of(block, int(j)));
  }
  PackHalves<F>(row, offsetof(typename F::Block, d), 1, head + kSubs * kStripRows);
}
template <>
struct PackHead<format::Q6_K> {
  static void Fill(const std::byte* const* row, size_t, std::byte* head) {
    PackSignedScales<format::Q6_K, 16>(row, head, [](const auto& b, int j) { return b.scales[j]; });
  }
};
template <>
struct PackHead<format::Q3_K> {
  static void Fill(const std::byte* const* row, size_t, std::byte* head) {
    PackSignedScales<format::Q3_K, 16>(row, head, [](const auto& b, int j) {
      int8_t scale[16];
      format::Q3_K::unpack_scales(b.scales, scale);
      return scale[j];
    });
  }
};
template <>
struct PackHead<format::IQ4_XS> {
  static void Fill(const std::byte* const* row, size_t, std::byte* head) {
    PackSignedScales<format::IQ4_XS, 8>(row, head, format::IQ4_XS::scale);
  }
};
template <>
struct PackHead<format::Q2_K> {
  static void Fill(const std::byte* const* row, size_t, std::byte* head) {
    using Block = format::Q2_K::Block;
    PackHalves<format::Q2_K>(row, offsetof(Block, d), 1, head);
    PackHalves<format::Q2_K>(row, offsetof(Block, d_min), 1, head + 32);
    for (size_t r = 0; r < kStripRows; ++r)
      for (size_t j = 0; j < 16 && row[r]; ++j) head[64 + j * kStripRows + r] = row[r][offsetof(Block, scales) + j];
  }
};
template <>
struct PackHead<format::MXFP4> {
  static void Fill(const std::byte* const* row, size_t n_blocks, std::byte* head) {
    for (size_t b = 0; b < n_blocks; ++b)
      for (size_t r = 0; r < kStripRows; ++r)
        if (row[r]) head[b * kStripRows + r] = row[r][b * sizeof(format::MXFP4::Block)];
  }
};
template <>
struct PackHead<format::I8_16> {
  static void Fill(const std::byte* const* row, size_t n_blocks, std::byte* head) {
    for (size_t i = 0; i < 2 * n_blocks; ++i)
      for (size_t r = 0; r < kStripRows; ++r)
        if (row[r])
          std::memcpy(head + sizeof(float) * (i * kStripRows + r),
                      row[r] + i / 2 * sizeof(format::I8_16::Block) + i % 2 * sizeof(float), sizeof(float));
  }
};

// Each byte's bit kFrom as bit kTo of the byte of another vector, for the eight vectors of a block.
template <int kFrom>
HWY_INLINE VU8 GatherBits(const VU8 (&u)[8]) {
  const VU8 a = hn::Or(MoveBit<kFrom, 0>(u[0]), MoveBit<kFrom, 1>(u[1]));
  const VU8 b = hn::Or(MoveBit<kFrom, 2>(u[2]), MoveBit<kFrom, 3>(u[3]));
  const VU8 c = hn::Or(MoveBit<kFrom, 4>(u[4]), MoveBit<kFrom, 5>(u[5]));
  const VU8 d = hn::Or(MoveBit<kFrom, 6>(u[6]), MoveBit<kFrom, 7>(u[7]));
  return hn::Or(hn::Or(a, b), hn::Or(c, d));
}

// The codes of a block of 32 columns, line k of `lines` holding columns 4 k .. 4 k + 3 of the rows, a byte each.
template <StripBits kBits>
void PackBlock(const uint8_t* lines, std::byte* out) {
  auto* to = reinterpret_cast<uint8_t*>(out);
  for (size_t at = 0; at < 64; at += kSliceBytes) {
    VU8 u[8];
    for (size_t k = 0; k < 8; ++k) u[k] = hn::Load(DU8(), lines + 64 * k + at);
    if constexpr (kBits == 8) {
      for (size_t k = 0; k < 8; ++k) hn::StoreU(u[k], DU8(), to + 64 * k + at);
    } else if constexpr (kBits == 2 || kBits == 3) {
      for (size_t k = 0; k < 2; ++k) {
        const VU8 low = hn::Or(hn::And(u[k], hn::Set(DU8(), uint8_t(3))), LeftMasked<2>(u[k + 2], 0x0c));
        const VU8 high = hn::Or(LeftMasked<4>(u[k + 4], 0x30), LeftMasked<6>(u[k + 6], 0xc0));
        hn::StoreU(hn::Or(low, high), DU8(), to + 64 * k + at);
      }
      if constexpr (kBits == 3) hn::StoreU(GatherBits<2>(u), DU8(), to + 128 + at);
    } else {
      const VU8 low = hn::Set(DU8(), uint8_t(15));
      for (size_t k = 0; k < 4; ++k)
        hn::StoreU(hn::Or(hn::And(u[k], low), LeftMasked<4>(u[k + 4], 0xf0)), DU8(), to + 64 * k + at);
      if constexpr (kBits == 5) hn::StoreU(GatherBits<4>(u), DU8(), to + 256 + at);
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
    if constexpr (s.bits.book != CodeBook::kNone)
      for (size_t i = 0; i < 16 * padded; ++i) lines[i] = kValuesOf<s.bits.book>.code_of[lines[i]];
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

// The same of a format whose numbers are floats.
template <FloatFormat F>
void PackStrip(const WeightView& W, size_t first, std::byte* strip) {
  using Block = typename F::Block;
  constexpr StripCodes s = StripShape<F>::kCodes;
  static_assert(s.columns == F::kFormat.block_elems);
  const size_t n_rows = std::min(kStripRows, W.rows - first);
  for (size_t b = 0; b < W.cols / s.columns; ++b, strip += s.group_bytes()) {
    std::memset(strip, 0, s.group_bytes());
    auto* lines = reinterpret_cast<uint8_t*>(strip + s.head_bytes);
    for (size_t r = 0; r < n_rows; ++r) {
      Block block;
      std::memcpy(&block, W.row(first + r) + b * sizeof block, sizeof block);
      std::memcpy(strip + sizeof(float) * r, block.scale, sizeof(float));
      if constexpr (s.bits == 8) {
        for (size_t c = 0; c < s.columns; ++c) lines[c * kStripRows + r] = uint8_t(block.q[c]);
      } else {
        const auto code = [&](size_t c) { return c < 32 ? block.q[c] & 15 : block.q[c - 32] >> 4; };
        for (size_t at = 0; at < s.columns / 2; ++at) {  // byte at % 4 of line at / 4
          const size_t c = at / 16 * 32 + at % 16;
          lines[at / 4 * 64 + 4 * r + at % 4] = uint8_t(code(c) | code(c + 16) << 4);
        }
      }
    }
  }
}

}  // namespace strip
}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif  // HUNCH_INT8_SIMD
#endif
