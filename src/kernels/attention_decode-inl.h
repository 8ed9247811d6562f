// Rows of cached keys and values as f32, whatever their format. The bits are those of the codecs in formats/.
// clang-format off
#if defined(HUNCH_KERNELS_ATTENTION_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_ATTENTION_DECODE_INL_H_
#undef HUNCH_KERNELS_ATTENTION_DECODE_INL_H_
#else
#define HUNCH_KERNELS_ATTENTION_DECODE_INL_H_
#endif
// clang-format on
#include <cstring>

#include "formats/f16.h"
#include "formats/q4_0.h"
#include "formats/q8_0.h"
#include "hwy/highway.h"
#include "kernels/attention_block.h"
#include "kernels/promote_f16-inl.h"
#include "kernels/vec_math-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

HWY_INLINE VF load(DF d, const float* p) { return hn::LoadU(d, p); }
HWY_INLINE VF load(DF d, const f16* p) {
  const hn::Rebind<hwy::float16_t, DF> dh;
  return PromoteF16(d, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(p)));
}

// `rows` as f32: itself, or n halves converted into `to`.
HWY_INLINE const float* as_f32(const float* rows, size_t, float*) { return rows; }
HWY_INLINE const float* as_f32(const f16* rows, size_t n, float* to) {
  const DF d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(load(d, rows + i), d, to + i);
  for (; i < n; ++i) to[i] = to_f32(rows[i]);
  return to;
}

// As many lanes as divide a block's halves.
using DBlock = hn::CappedTag<float, 16>;

HWY_INLINE void unpack_q8_0(const std::byte* blocks, size_t n, float* to) {
  const DBlock d;
  const hn::RebindToSigned<DBlock> di;
  const hn::Rebind<int8_t, DBlock> d8;
  for (size_t i = 0; i < n; i += 32, blocks += sizeof(format::Q8_0::Block), to += 32) {
    const auto& block = *reinterpret_cast<const format::Q8_0::Block*>(blocks);
    const auto scale = hn::Set(d, to_f32(block.d));
    for (size_t j = 0; j < 32; j += hn::Lanes(d)) {
      const auto q = hn::PromoteTo(di, hn::LoadU(d8, block.q + j));
      hn::StoreU(hn::Mul(scale, hn::ConvertTo(d, q)), d, to + j);
    }
  }
}

HWY_INLINE void unpack_q4_0(const std::byte* blocks, size_t n, float* to) {
  const DBlock d;
  const hn::RebindToSigned<DBlock> di;
  const hn::Rebind<uint8_t, DBlock> d8;
  const auto low_bits = hn::Set(di, 15), zero_code = hn::Set(di, 8);
  for (size_t i = 0; i < n; i += 32, blocks += sizeof(format::Q4_0::Block), to += 32) {
    const auto& block = *reinterpret_cast<const format::Q4_0::Block*>(blocks);
    const auto scale = hn::Set(d, to_f32(block.d));
    for (size_t j = 0; j < 16; j += hn::Lanes(d)) {
      const auto both = hn::PromoteTo(di, hn::LoadU(d8, block.q + j));
      const auto low = hn::Sub(hn::And(both, low_bits), zero_code), high = hn::Sub(hn::ShiftRight<4>(both), zero_code);
      hn::StoreU(hn::Mul(scale, hn::ConvertTo(d, low)), d, to + j);
      hn::StoreU(hn::Mul(scale, hn::ConvertTo(d, high)), d, to + 16 + j);
    }
  }
}

HWY_INLINE void decode_row(const AttentionBlock& block, const std::byte* row, float* to) {
  const size_t d_head = block.span->kv.d_head;
  switch (block.span->kv.dtype) {
    case DType::kF32: std::memcpy(to, row, d_head * sizeof(float)); break;
    case DType::kF16: as_f32(reinterpret_cast<const f16*>(row), d_head, to); break;
    case DType::kQ8_0: unpack_q8_0(row, d_head, to); break;
    case DType::kQ4_0: unpack_q4_0(row, d_head, to); break;
    default: block.codec->decode(row, to, d_head);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
