// The mixers that keep a state of their sequence instead of something of each token.
#pragma once
#include <memory>

#include "linear/linear.h"
#include "model/ops.h"
#include "model/step.h"
#include "state/recurrent_states.h"

namespace hunch {

// What a layer keeps of a sequence: the last inputs of its convolution [n_taps - 1, n_conv], then the states of its
// heads [n_head, d_head, d_state]. It is fed by a token: the convolution's input, and what its gates are made of.
RecurrentSize recurrent_size(const LayerConfig& c);

// LFM2's (LiquidAI 2025): out(C * conv(B * x)), where in() makes B, C and x.
struct ShortConv {
  std::unique_ptr<Linear> in, out;  // [3 * width, n_embd] B, then C, then x; [n_embd, width]
  Vector taps;                      // [n_taps * width]

  // x, y [n_tokens of the step, n_embd]; y is written. Of all three.
  void operator()(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const;
  template <class Each>
  void for_each_linear(const Each& each) {
    for (auto* linear : {&in, &out})
      if (*linear) each(*linear);
  }
};

// Dao and Gu 2024, arXiv:2405.21060, section 7, with a norm over the groups' parts after the gate.
struct Mamba2 {
  std::unique_ptr<Linear> in, out;  // [width + n_conv + n_head, n_embd] gate, convolution's input, dt; [n_embd, width]
  Vector taps, conv_bias;           // [n_taps * n_conv], [n_conv] or empty
  Vector dt_bias, a, d;             // [n_head]; a is negative
  NormWeights norm;                 // [width]

  void operator()(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const;
  template <class Each>
  void for_each_linear(const Each& each) {
    for (auto* linear : {&in, &out})
      if (*linear) each(*linear);
  }
};

// Yang et al. 2024, arXiv:2412.06464, as Qwen3-Next has it: keys and queries of length 1, shared by heads.
struct DeltaNet {
  std::unique_ptr<Linear> in, gate, out;  // [n_conv, n_embd] queries, keys, values; [width, n_embd]
  std::unique_ptr<Linear> beta, alpha;    // [n_head, n_embd]
  std::unique_ptr<Linear> beta_alpha;     // or both in one, group by group
  Vector taps;                            // [n_taps * n_conv]
  Vector dt_bias, a;                      // [n_head]; a is negative
  NormWeights norm;                       // [d_head]

  void operator()(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const;
  template <class Each>
  void for_each_linear(const Each& each) {
    for (auto* linear : {&in, &gate, &beta, &alpha, &beta_alpha, &out})
      if (*linear) each(*linear);
  }
};

}  // namespace hunch
