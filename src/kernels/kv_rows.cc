#include "kernels/kv_rows.h"

#include "base/error.h"
#include "formats/format.h"
#include "kernels/hadamard.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/kv_rows.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/kv_groups-inl.h"
HWY_BEFORE_NAMESPACE();
namespace hunch {
namespace HWY_NAMESPACE {

void UnpackKey(size_t bits, const std::byte* group, size_t token, size_t d_head, float* to) {
  bits == 2 ? unpack_key_row<2>(group, token, d_head, to) : unpack_key_row<4>(group, token, d_head, to);
}
void UnpackValue(size_t bits, const std::byte* row, size_t d_head, float* to) {
  bits == 2 ? unpack_value_row<2>(row, d_head, to) : unpack_value_row<4>(row, d_head, to);
}

}  // namespace HWY_NAMESPACE
}  // namespace hunch
HWY_AFTER_NAMESPACE();
#if HWY_ONCE
namespace hunch {
HWY_EXPORT(UnpackKey);
HWY_EXPORT(UnpackValue);

namespace {

// Of a cache in groups.
void read_grouped(const KvView& view, KvPart part, size_t kv_head, size_t slot, std::span<float> to) {
  const KvGroups& groups = view.groups;
  const bool is_value = part == KvPart::kValues;
  const size_t d = view.d_head, token = slot % kKvGroup, row = kv_row_bytes(view);
  if (slot >= groups.first_tail) {
    const std::byte* const rows = groups.tail + (is_value ? groups.tail_v_offset_bytes : 0);
    const size_t at = kv_head * kKvGroup + slot - groups.first_tail;
    return codec(DType::kF16).decode(rows + at * d * sizeof(f16), to.data(), d);
  }
  const std::byte* const group = view.pages[slot / kKvGroup] + kv_head * kKvGroup * row;
  if (!is_value) return HWY_DYNAMIC_DISPATCH(UnpackKey)(groups.bits, group, token, d, to.data());
  HWY_DYNAMIC_DISPATCH(UnpackValue)(groups.bits, group + view.v_offset_bytes + token * row, d, to.data());
}

}  // namespace

size_t kv_row_bytes(const KvView& view) {
  return view.groups.bits ? kv_value_row_bytes(view.groups.bits, view.d_head) : row_bytes(view.dtype, view.d_head);
}

void read_kv_rows(const KvView& view, KvPart part, size_t kv_head, size_t first, MatView<float> out) {
  HUNCH_CHECK(out.cols == view.d_head && kv_head < view.n_kv_head && first + out.rows <= view.n_slots(kv_head),
              "slots [{}, +{}) of {}, head {}", first, out.rows, view.n_slots(kv_head), kv_head);
  const size_t bytes = kv_row_bytes(view), offset = part == KvPart::kValues ? view.v_offset_bytes : 0;
  const Format& format = codec(view.dtype);
  for (size_t i = 0; i < out.rows; ++i) {
    const size_t slot = first + i, row = kv_head * view.page_tokens + slot % view.page_tokens;
    if (view.groups.bits) {
      read_grouped(view, part, kv_head, slot, out.row(i));
      continue;
    }
    format.decode(view.pages[slot / view.page_tokens] + offset + row * bytes, out.row(i).data(), view.d_head);
    if (view.rotated) hadamard(out.row(i), hadamard_block(view.d_head));
  }
}

}  // namespace hunch
#endif  // HWY_ONCE
