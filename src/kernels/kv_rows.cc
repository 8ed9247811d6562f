#include "kernels/kv_rows.h"

#include "base/error.h"
#include "formats/format.h"
#include "kernels/hadamard.h"

namespace hunch {

size_t kv_row_bytes(const KvView& view) { return row_bytes(view.dtype, view.d_head); }

void read_kv_rows(const KvView& view, KvPart part, size_t kv_head, size_t first, MatView<float> out) {
  HUNCH_CHECK(!view.groups.bits && out.cols == view.d_head && kv_head < view.n_kv_head &&
                  first + out.rows <= view.n_slots(kv_head),
              "slots [{}, +{}) of {}, head {}", first, out.rows, view.n_slots(kv_head), kv_head);
  const size_t bytes = kv_row_bytes(view), offset = part == KvPart::kValues ? view.v_offset_bytes : 0;
  const Format& format = codec(view.dtype);
  for (size_t i = 0; i < out.rows; ++i) {
    const size_t slot = first + i, row = kv_head * view.page_tokens + slot % view.page_tokens;
    format.decode(view.pages[slot / view.page_tokens] + offset + row * bytes, out.row(i).data(), view.d_head);
    if (view.rotated) hadamard(out.row(i), hadamard_block(view.d_head));
  }
}

}  // namespace hunch
