// Single rows of a cache, for who looks at keys or values without attending to them.
#pragma once
#include <span>

#include "base/error.h"
#include "formats/format.h"
#include "kernels/attention.h"
#include "kernels/hadamard.h"

namespace hunch {

// The key of a slot, or its value, as f32: [d_head]. Not of a cache in groups.
inline void load_row(const KvView& kv, bool is_value, size_t kv_head, size_t slot, std::span<float> to) {
  HUNCH_CHECK(!kv.groups.bits, "single rows of a cache in groups");
  const size_t row = kv_head * kv.page_tokens + slot % kv.page_tokens;
  const std::byte* const page = kv.pages[slot / kv.page_tokens] + (is_value ? kv.v_offset_bytes : 0);
  codec(kv.dtype).decode(page + row * row_bytes(kv.dtype, kv.d_head), to.data(), kv.d_head);
  if (kv.rotated) hadamard(to, hadamard_block(kv.d_head));
}

}  // namespace hunch
