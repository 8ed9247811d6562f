// What Gemma 3n and Gemma 4 share.
#pragma once
#include "model/arch/llama_like.h"

namespace hunch {

// RMS norms, GELU, values normalised, scores as they are, a rope of their own for windowed layers.
ModelConfig gemma_config_with_value_norms(const ModelFile& file);

// num_hidden_layers and the other counts that both say alike, the norms' epsilon, windows, the cap of logits, layers
// that read the keys of earlier ones, per-layer embeddings. Refuses attention that sees what follows.
LlamaLikeSizes import_gemma_counts(HfImport& hf);
// Embeddings, final norm, and the model's part of per-layer embeddings where there are any.
void import_gemma_ends(HfImport& hf);
// The norms on both sides of both branches, attention (of a layer that reads another's keys only queries and output),
// and the layer's part of per-layer embeddings where there is one.
void import_gemma_layer(HfImport& hf, size_t layer, const LlamaLikeSizes& sizes);

}  // namespace hunch
