// What the models that came from fairseq share: the names of a layer's tensors (OPT, XGLM).
#pragma once
#include "model/architecture.h"

namespace hunch {

// layers.N.{self_attn_layer_norm, self_attn.*, final_layer_norm, fc1, fc2} of every layer.
void import_fairseq_layers(HfImport& hf, size_t n_layer);

}  // namespace hunch
