// Rows of a cache as numbers, for who works with keys and values beside attention().
#pragma once
#include "kernels/attention.h"

namespace hunch {

enum class KvPart : uint8_t { kKeys, kValues };

// The keys, or values, of slots [first, first + out.rows) of one head, as they were before the cache rounded them:
// decoded, and rotated back where it rotates; of a cache in groups as the view's query reads them. Counts no bytes.
//
//   out  [n, d_head], rows may be strided
void read_kv_rows(const KvView& view, KvPart part, size_t kv_head, size_t first, MatView<float> out);

// Bytes that such a row takes in the cache: in groups, of codes.
size_t kv_row_bytes(const KvView& view);

}  // namespace hunch
