// Sizes of models that synth can make: those of published families, and changes to them.
#pragma once
#include <cstddef>
#include <span>
#include <string>

#include "kernels/ops.h"

namespace hunch {

struct SynthShape {
  std::string name;
  std::string arch;  // "opt": LayerNorm, biases, learned positions; "llama": RMSNorm, RoPE, gated MLP
  size_t n_layer = 0, n_embd = 0, n_ff = 0, n_head = 0, n_kv_head = 0, n_vocab = 0, n_ctx = 0;
  Activation activation = Activation::kRelu;

  bool gated() const { return arch == "llama"; }
  size_t d_head() const { return n_embd / n_head; }
};

std::span<const SynthShape> synth_shapes();

// Throws Error{kUsage} listing the shapes there are.
const SynthShape& synth_shape(std::string_view name);

// Throws Error{kUsage} naming the size that is zero, too large, or contradicts another.
void validate(const SynthShape& shape);

}  // namespace hunch
