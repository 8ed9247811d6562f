#include "kernels/strips/token_tiles.h"

#include <algorithm>
#include <cstring>

namespace hunch {

void fill_token_tiles(const QuantizedX& x, size_t begin, size_t end, const TokenTiles& tiles) {
  for (size_t i = 0; i < tiles.n_tiles(); ++i) {
    const size_t first = i * TokenBlock::kTokens, n = std::min(TokenBlock::kTokens, tiles.n_tokens - first);
    TokenBlock* blocks = tiles.blocks + i * tiles.n_blocks;
    if (n < TokenBlock::kTokens) std::memset(static_cast<void*>(blocks + begin), 0, (end - begin) * sizeof(TokenBlock));
    for (size_t t = 0; t < n; ++t) {
      const int8_t* q = x.q_row(first + t);
      const float *scale = x.scale_row(first + t), *scaled_sum16 = x.scaled_sum16_row(first + t),
                  *scaled_sum = x.scaled_sum_row(first + t);
      for (size_t b = begin; b < end; ++b) {
        TokenBlock& to = blocks[b];
        std::memcpy(to.q[t], q + b * QuantizedX::kBlock, QuantizedX::kBlock);
        to.scale[t] = scale[b];
        to.scaled_sum[t] = scaled_sum[b];
        for (size_t half = 0; half < 2; ++half) to.scaled_sum16[half][t] = scaled_sum16[2 * b + half];
      }
    }
  }
}

}  // namespace hunch
