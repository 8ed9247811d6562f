// Keys and values in codes of 2 or 4 bits as KIVI has them (Liu et al. 2024, arXiv:2402.02750, section 3): value = code
// * scale + minimum, both in f16, of the 32 tokens of a group for each channel of the keys, and of 32 channels for each
// token of the values.
//
//   a group of keys  f16 scale [d_head], f16 minimum [d_head], codes of 32 tokens, each d_head / 32 pieces
//   a value row      d_head / 32 times: f16 scale, f16 minimum, a piece
//   a piece          32 codes: of 2 bits two words, little-endian, code i in bits 2 (i % 16) of word i / 16; of 4 bits
//                    16 bytes, code i in the lower half of byte i where i < 16, in the upper half of byte i - 16 else
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/half.h"
#include "base/view.h"
#include "formats/kv_type.h"

namespace hunch {

constexpr size_t kv_piece_bytes(size_t bits) { return kKvGroup * bits / 8; }
constexpr size_t kv_value_row_bytes(size_t bits, size_t d_head) {
  return d_head / kKvGroup * (2 * sizeof(f16) + kv_piece_bytes(bits));
}
// As many as 32 value rows take.
constexpr size_t kv_key_group_bytes(size_t bits, size_t d_head) { return kKvGroup * kv_value_row_bytes(bits, d_head); }

// Rounds to the nearest code. K [32, d_head]; bits is 2 or 4, d_head a multiple of 32.
void pack_key_group(size_t bits, MatView<const f16> K, std::byte* to);
void pack_value_row(size_t bits, std::span<const f16> v, std::byte* to);

namespace ref {  // what they stand for
void unpack_key(size_t bits, const std::byte* group, size_t token, std::span<float> to);
void unpack_value(size_t bits, const std::byte* row, std::span<float> to);
}  // namespace ref
}  // namespace hunch
