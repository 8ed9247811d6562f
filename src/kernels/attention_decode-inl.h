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
#include "kernels/kv_groups-inl.h"
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

// What a slot's K and V rows take, or the values' of a cache in groups.
HWY_INLINE size_t slot_bytes(const KvView& kv) {
  return kv.groups.bits ? kv_value_row_bytes(kv.groups.bits, kv.d_head) : row_bytes(kv.dtype, kv.d_head);
}

// Where a slot's K row lies (in groups: where it would, if they were rows), its V row `v_offset_bytes` further.
HWY_INLINE const std::byte* key_row(const AttentionBlock& block, size_t slot, size_t bytes) {
  const KvView& kv = block.span->kv;
  return kv.pages[slot / kv.page_tokens] + (block.kv_head * kv.page_tokens + slot % kv.page_tokens) * bytes;
}

// Of a cache in groups; `tail_row` counts from the first row of its keys, or of its values.
HWY_INLINE const f16* tail_row(const AttentionBlock& block, bool is_value, size_t slot) {
  const KvView& kv = block.span->kv;
  const std::byte* const rows = kv.groups.tail + (is_value ? kv.groups.tail_v_offset_bytes : 0);
  return reinterpret_cast<const f16*>(rows) + (block.kv_head * kKvGroup + slot - kv.groups.first_tail) * kv.d_head;
}

// A slot's key and value as f32, whatever they are stored as.
HWY_INLINE void decode_key(const AttentionBlock& block, size_t slot, float* to) {
  const KvView& kv = block.span->kv;
  const size_t bytes = slot_bytes(kv);
  if (kv.groups.bits == 0) return decode_row(block, key_row(block, slot, bytes), to);
  if (slot >= kv.groups.first_tail) return void(as_f32(tail_row(block, false, slot), kv.d_head, to));
  const std::byte* const group = kv.pages[slot / kKvGroup] + block.kv_head * kKvGroup * bytes;
  kv.groups.bits == 2 ? unpack_key_row<2>(group, slot % kKvGroup, kv.d_head, to)
                      : unpack_key_row<4>(group, slot % kKvGroup, kv.d_head, to);
}
HWY_INLINE void decode_value(const AttentionBlock& block, size_t slot, float* to) {
  const KvView& kv = block.span->kv;
  const std::byte* const row = key_row(block, slot, slot_bytes(kv)) + kv.v_offset_bytes;
  if (kv.groups.bits == 0) return decode_row(block, row, to);
  if (slot >= kv.groups.first_tail) return void(as_f32(tail_row(block, true, slot), kv.d_head, to));
  kv.groups.bits == 2 ? unpack_value_row<2>(row, kv.d_head, to) : unpack_value_row<4>(row, kv.d_head, to);
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#endif
