#include "linear/transpose.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace hunch {
namespace {

template <class T>
void transpose_elements(Compute& compute, const WeightView& W, std::byte* out, size_t stride_bytes) {
  constexpr size_t kTile = 64;
  compute.threads.parallel_for((W.cols + kTile - 1) / kTile, 1, [&](size_t begin, size_t end) {
    for (size_t c0 = begin * kTile; c0 < std::min(end * kTile, W.cols); c0 += kTile)
      for (size_t r0 = 0; r0 < W.rows; r0 += kTile)
        for (size_t r = r0; r < std::min(W.rows, r0 + kTile); ++r)
          for (size_t c = c0; c < std::min(W.cols, c0 + kTile); ++c)
            std::memcpy(out + c * stride_bytes + r * sizeof(T), W.row(r) + c * sizeof(T), sizeof(T));
  });
}

}  // namespace

void transpose_plain(Compute& compute, const WeightView& W, std::byte* out, size_t stride_bytes) {
  HUNCH_CHECK(is_plain(W.dtype) && stride_bytes >= row_bytes(W.dtype, W.rows), "{} rows of {} into {} bytes", W.rows,
              name_of(W.dtype), stride_bytes);
  if (info(W.dtype).block_bytes == 4) return transpose_elements<uint32_t>(compute, W, out, stride_bytes);
  transpose_elements<uint16_t>(compute, W, out, stride_bytes);
}

}  // namespace hunch
