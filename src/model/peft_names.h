// What PEFT, and the checkpoints that it adapts, call the matrices of a layer.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "linear/linear.h"
#include "model/model.h"

namespace hunch {

// Llama's descendants, and OPT. Without ".weight"; "" of what they do not have.
struct PeftNames {
  const char *layers, *q, *k, *v, *o, *gate, *up, *down;

  // "" of roles that no block has.
  std::string module(size_t layer, Role role) const;
};
inline constexpr PeftNames kPeftNames[] = {{"model.layers.", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                            "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"},
                                           {"model.decoder.layers.", "self_attn.q_proj", "self_attn.k_proj",
                                            "self_attn.v_proj", "self_attn.out_proj", "", "fc1", "fc2"}};

// The row of the checkpoint's matrix that each row of the model's is, in every layer: [n_layer][n_out] of `role`.
// Throws Error{kUnsupported} where checkpoints of the architecture call it something else, or have its rows elsewhere.
std::vector<std::vector<uint32_t>> checkpoint_rows(const Model& model, Role role);

}  // namespace hunch
