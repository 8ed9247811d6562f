// Matrices of small integers in the layouts of quantised checkpoints: the other direction of io/quantised_gptq.cc and
// io/quantised_compressed.cc.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace hunch {

// W[o, i] = (code[o, i] - zero[o, g]) * scale[o, g] for g = i / (n_in / n_groups).
struct Codes {
  size_t n_out = 0, n_in = 0, n_groups = 1, bits = 4;
  std::span<const uint8_t> code;  // [n_out * n_in]
  std::span<const uint8_t> zero;  // [n_out * n_groups]
};

using Words = std::vector<uint32_t>;

// GPTQ (AutoGPTQ, GPTQModel): [n_in * bits / 32, n_out], down a column the inputs' codes as a stream of bits, lowest
// first; and [n_groups, n_out * bits / 32], zero points less one (the first layout, "gptq"). 2, 3, 4 or 8 bits.
Words gptq_weights(const Codes& codes);
Words gptq_zeros(const Codes& codes);
// AWQ ("gemm"): [n_in, n_out / 8] and [n_groups, n_out / 8], eight outputs a word in an order of their own. 4 bits.
Words awq_weights(const Codes& codes);
Words awq_zeros(const Codes& codes);
// compressed-tensors ("pack-quantized"): [n_out, n_in * bits / 32], lowest bits first; and [n_out * bits / 32,
// n_groups], packed along the outputs. A code is the integer plus half of the range. 4 or 8 bits.
Words compressed_weights(const Codes& codes);
Words compressed_zeros(const Codes& codes);

// Throw Error{kUnsupported} naming the matrix where its numbers fill no whole words in that layout, or the layout has
// no such bits.
void check_gptq(const char* name, size_t n_out, size_t n_in, size_t bits);
void check_awq(const char* name, size_t n_out, size_t n_in, size_t bits);
void check_compressed(const char* name, size_t n_out, size_t n_in, size_t bits, bool symmetric);

}  // namespace hunch
