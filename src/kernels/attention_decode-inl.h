// Rows of cached keys and values as f32, whatever their format.
// clang-format off
#if defined(HUNCH_KERNELS_ATTENTION_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HUNCH_KERNELS_ATTENTION_DECODE_INL_H_
#undef HUNCH_KERNELS_ATTENTION_DECODE_INL_H_
#else
#define HUNCH_KERNELS_ATTENTION_DECODE_INL_H_
#endif
// clang-format on
#include "hwy/highway.h"
#include "kernels/attention_block.h"
#include "kernels/formats/decode-inl.h"
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

HWY_INLINE void decode_row(const AttentionBlock& block, const std::byte* row, float* to) {
  with_format(block.span->kv.dtype, [&](auto f) { DecodeRow<decltype(f)>(row, block.span->kv.d_head, to); });
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
