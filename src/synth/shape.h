// Sizes of models that synth can make: those of published families, and changes to them.
#pragma once
#include <cstddef>
#include <span>
#include <string>

#include "kernels/ops.h"

namespace hunch {

// What mixtures have beside the sizes of others: Nemotron-H's, or where there are no blocks Mixtral's, of which the
// experts are all that counts.
struct SynthHybrid {
  std::string blocks;  // of each layer: M (Mamba-2), * (attention), E (experts); empty: no such model
  size_t n_expert = 0, n_expert_used = 0, n_ff_shared = 0;
  size_t n_state_head = 0, d_state_head = 0, n_group = 0, d_state = 0, n_taps = 4;
  size_t width() const { return n_state_head * d_state_head; }
};

struct SynthShape {
  std::string name;
  // "opt": LayerNorm, biases, learned positions; "llama": RMSNorm, RoPE, gated MLP; "nemotron_h_moe": RMSNorm, no
  // positions, layers of one block each
  std::string arch;
  size_t n_layer = 0, n_embd = 0, n_ff = 0, n_head = 0, n_kv_head = 0, n_vocab = 0, n_ctx = 0;
  Activation activation = Activation::kRelu;
  SynthHybrid hybrid = {};

  bool is_hybrid() const { return !hybrid.blocks.empty(); }
  size_t n_branches() const { return is_hybrid() ? n_layer : 2 * n_layer; }  // that add to the residual stream
  bool is_mixture() const { return hybrid.n_expert > 0; }
  bool gated() const { return arch == "llama"; }
  size_t d_head() const { return n_embd / n_head; }
};

std::span<const SynthShape> synth_shapes();

// Throws Error{kUsage} listing the shapes there are.
const SynthShape& synth_shape(std::string_view name);

// Throws Error{kUsage} naming the size that is zero, too large, or contradicts another.
void validate(const SynthShape& shape);

}  // namespace hunch
