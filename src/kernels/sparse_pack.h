// Sparse strips a value at a time: packed, and turned back into rows of blocks. Internal to the kernels.
#pragma once
#include <cstddef>

#include "kernels/sparse_strips.h"

namespace hunch {

// Rows 16 i .. of W, those there are, as blocks of W.dtype: [rows][row_bytes(W.dtype, W.cols)].
void strip_to_blocks(const SparseStrips& W, size_t i, std::byte* out);

}  // namespace hunch
