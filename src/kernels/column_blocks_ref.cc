#include <vector>

#include "formats/format.h"
#include "kernels/column_blocks.h"

namespace hunch {
namespace ref {

void dot_column_blocks(const ColumnBlocks& W, std::span<const uint32_t> blocks, std::span<const float> x,
                       std::span<const float> bias, std::span<float> y) {
  std::vector<float> w(W.width);
  for (size_t r = 0; r < W.rows; ++r) {
    double sum = bias.empty() ? 0.0 : bias[r];
    for (uint32_t b : blocks) {
      codec(W.dtype).decode(W.at(r, b), w.data(), W.width);
      for (size_t i = 0; i < W.width; ++i) sum += double(w[i]) * x[b * W.width + i];
    }
    y[r] = float(sum);
  }
}

}  // namespace ref
}  // namespace hunch
