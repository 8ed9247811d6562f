// The weights of a model as the forward pass uses them: views into the file, small vectors decoded
// to f32, and the down projections of ReLU models turned neuron-major.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/compute.h"
#include "io/model_file.h"
#include "model/config.h"

namespace hunch {

using Vector = std::vector<float>;  // empty where the model has none

struct NormWeights {
  Vector weight, bias;  // [n], or empty
};

struct Linear {
  WeightView W;  // [n_out, n_in]; !W where the model has none
  Vector bias;   // [n_out] or empty
};

struct MlpWeights {
  size_t n_ff = 0;
  Linear up;            // [n_ff, n_embd]
  Linear gate;          // [n_ff, n_embd], gated models
  Linear down;          // [n_embd, n_ff] as in the file; only the bias where W_down_t is set
  WeightView W_down_t;  // [n_ff, n_embd] neuron-major: row k is what neuron k adds to the stream
};

struct LayerWeights {
  NormWeights attn_norm, ffn_norm;            // ffn_norm empty: the MLP reads what attention reads
  NormWeights post_attn_norm, post_ffn_norm;  // on the branch, before the residual addition (Gemma-2)
  Linear q, k, v, o;
  NormWeights q_norm, k_norm;  // [d_head], or [n_head * d_head] per head or over all heads
  MlpWeights mlp;              // dense layers
  Linear router;               // [n_expert, n_embd]
  std::vector<MlpWeights> experts;
  MlpWeights shared_expert;
  Linear shared_gate;  // [1, n_embd]: sigmoid scales the shared expert
};

// What is done with a down projection whose ReLU zeros could be skipped if it were neuron-major.
enum class DownLayout : uint8_t {
  kNone,        // the activation is never exactly zero: nothing to skip
  kTransposed,  // f32 / f16 / bf16, transposed at load without loss; or stored neuron-major in the file
  kKept,        // quantised along n_ff in the file: kept, dense
  kReblocked,   // decoded, transposed and re-encoded as Q8_0 along n_embd, on request
};

struct ModelWeights {
  WeightView token_embd;  // [n_vocab, n_embd_word]
  Vector position_embd;   // [n_ctx_train * n_embd] learned or sinusoidal
  NormWeights embd_norm, output_norm;
  Linear proj_in, proj_out;  // OPT-350m
  Linear output;             // [n_vocab, n_embd_word]; the token embedding where tied
  std::vector<LayerWeights> layers;
  DownLayout down_layout = DownLayout::kNone;
  std::vector<AlignedBuffer> arenas;  // transposed and re-blocked weights
  size_t n_params = 0;
  size_t bytes = 0;  // of all tensors in the file
};

struct WeightOptions {
  bool reblock_down = false;  // allow DownLayout::kReblocked
};

// Finds every tensor by its GGUF name and checks its shape against the config; transposes and
// re-blocks in parallel. Views live as long as `file`'s owners. Throws Error{kNotFound | kFormat |
// kUnsupported | kMemory} naming tensor, expected and found.
ModelWeights load_weights(const ModelFile& file, const ModelConfig& config, const WeightOptions& options,
                          Compute& compute);

// Bytes that load_weights will allocate beside the file.
size_t extra_weight_bytes(const ModelFile& file, const ModelConfig& config, const WeightOptions& options);

}  // namespace hunch
