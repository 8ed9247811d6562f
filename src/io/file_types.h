// Which dtype each tensor of a written model gets: the one policy of every verb that writes models.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "formats/format.h"

namespace hunch {

// How down projections are written.
enum class DownFile : uint8_t {
  kAuto,    // neuron-major for quantised types of ReLU models that llama.cpp does not know (OPT), rows otherwise
  kRows,    // ffn_down [n_embd, n_ff], blocks along n_ff: what llama.cpp reads
  kNeuron,  // ffn_down_t [n_ff, n_embd], blocks along n_embd: rows of neurons can be skipped
};

// True for tensors that stay f32 whatever is asked: everything that is no product's matrix, and small ones
// whose rounding would cost more quality than it saves bytes.
bool stays_f32(std::string_view name, std::span<const uint64_t> shape);

// The asked-for type, or what stands in for it where its blocks do not divide rows of `cols`: q4_k -> q5_0, q5_k ->
// q5_1, q6_k -> q8_0, q2_k and q3_k -> q4_0, iq4_xs -> iq4_nl, then f16.
DType fitting_dtype(DType asked, size_t cols);

}  // namespace hunch
