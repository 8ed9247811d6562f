// Sixteen tokens as products of strips in AMX tiles read them: block after block of 32 columns, with all that a block
// asks for in one place.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/quantize.h"

namespace hunch {

// A block of 32 columns of sixteen tokens; of fewer, the rest is zeros. Sums are of both halves of the block, and of
// all of it, as in a QuantizedX.
struct alignas(64) TokenBlock {
  static constexpr size_t kTokens = 16;
  int8_t q[kTokens][QuantizedX::kBlock];
  float scale[kTokens], scaled_sum[kTokens], scaled_sum16[2][kTokens];
};

// The blocks of a number of tokens, [n_tiles][n_blocks]; memory of the caller's, 64-byte aligned.
struct TokenTiles {
  TokenBlock* blocks = nullptr;
  size_t n_tokens = 0, n_blocks = 0;

  TokenTiles() = default;
  TokenTiles(const QuantizedX& x, std::byte* memory)
      : blocks(reinterpret_cast<TokenBlock*>(memory)), n_tokens(x.n_tokens), n_blocks(x.n_blocks()) {}
  explicit operator bool() const { return blocks != nullptr; }
  size_t n_tiles() const { return tiles_of(n_tokens); }
  static size_t tiles_of(size_t n_tokens) { return (n_tokens + TokenBlock::kTokens - 1) / TokenBlock::kTokens; }
  static size_t bytes(size_t n_tokens, size_t n_blocks) { return tiles_of(n_tokens) * n_blocks * sizeof(TokenBlock); }
};

// Copies blocks [begin, end) of every tile from x, whose tokens they are.
void fill_token_tiles(const QuantizedX& x, size_t begin, size_t end, const TokenTiles& tiles);

}  // namespace hunch
