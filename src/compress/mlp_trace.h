// What a model's MLPs did on a text: the evidence that predictors are fitted to.
#pragma once
#include <span>
#include <vector>

#include "base/half.h"
#include "base/progress.h"
#include "engine/generate.h"
#include "model/plan.h"

namespace hunch {

// One layer's MLP, or one of its experts on the tokens that came to it. A token's contribution of neuron k is
// |activation| * ||row k of W_down_t||: how far it moves the stream. It is kept as a code of one byte, 0 for none, else
// in steps of an eighth of an octave.
struct MlpTrace {
  size_t layer = 0, n_embd = 0, n_ff = 0, n_tokens = 0;
  uint32_t expert = LinearId::kNone;
  size_t n_first = 0;          // tokens of the text's first MlpTraceOptions::n_first
  std::vector<f16> input;      // [n_tokens, n_embd] what the predictor will read
  std::vector<f16> mlp_input;  // the same for what the MLP reads, where that is something else; else empty
  std::vector<uint8_t> code;   // [n_tokens, n_ff]
  float scale = 1;             // contribution of code 128; the same of all experts of a layer

  const std::vector<f16>& mlp_in() const { return mlp_input.empty() ? input : mlp_input; }
  std::span<const uint8_t> codes(size_t token) const { return std::span(code).subspan(token * n_ff, n_ff); }
  // Rows [first, first + out.rows) of `from` (input or mlp_in()) as f32.
  void read(const std::vector<f16>& from, size_t first, MatView<float> out) const;
};

// contribution^2 of a code, in units of scale^2; 0 for code 0.
float squared_contribution(uint8_t code);

struct MlpTraceOptions {
  size_t first_layer = 0, n_layers = 0;
  Look input = Look::kHere;  // of experts always kHere: before, nobody is routed
  size_t n_first = 0;        // of the text, for MlpTrace::n_first
  size_t n_window = 512;     // tokens that see each other; at most the model's context
};

// Bytes that the trace of the largest layer takes per token.
size_t trace_bytes_per_token(const ModelConfig& config, Look input);

// Runs the text densely in windows and watches the layers: a trace of each layer's own MLP or of each of its experts,
// in order (not of the expert that all tokens share). Throws Error{kFormat} naming layer and token where an activation
// is not finite, Error{kInterrupted} on Ctrl-C, Error{kMemory} before taking more than there is. `also` watches the
// same passes.
std::vector<MlpTrace> trace_mlps(const Engine& engine, std::span<const int32_t> ids, const MlpTraceOptions& options,
                                 const Progress& progress = {}, Observer* also = nullptr);

}  // namespace hunch
