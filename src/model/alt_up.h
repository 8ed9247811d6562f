// AltUp (Baykal et al. 2023, "Alternating Updates for Efficient Transformers", arXiv:2301.13310): a model with several
// streams, of which a layer computes one and predicts the others. And LAuReL, a layer's second, narrow residual branch.
//
// The streams of a token lie side by side: [n_tokens, n_streams * n_embd].
#pragma once
#include <memory>

#include "linear/linear.h"
#include "model/ops.h"

namespace hunch {

class Step;

// From one stream to all, and back.
struct AltUpEnds {
  std::vector<std::unique_ptr<Linear>> spread, merge;  // [n_streams - 1] of [n_embd, n_embd]; none: there is one stream

  // The other streams from the first, each as large as that (in root mean square).
  void begin(Step& s, MatView<float> streams) const;
  // y [n_tokens, n_embd] = the mean of the first and what becomes of the others, made as large as the first. `streams`
  // keeps its values.
  void end(Step& s, MatView<const float> streams, MatView<float> y) const;
};

// A layer's.
struct AltUp {
  NormWeights router_norm;  // [n_embd]; the router's input is divided by n_embd too
  Vector router;            // [n_streams, n_embd]
  Vector prediction;        // [n_streams * n_streams, n_streams]
  Vector correction;        // [n_streams, n_streams]
  Vector output_scale;      // [n_embd] or empty: of the active stream, where the layer's part of embeddings reads it

  // y = what the streams x are expected to be after the layer; may not overlap.
  void predict(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const;
  // x = the predictions x, each moved by its share of what the active one, now known to be `computed` [n_tokens,
  // n_embd], was off.
  void correct(Step& s, const LayerConfig& c, MatView<const float> computed, MatView<float> x) const;

 private:
  void route(const LayerConfig& c, std::span<const float> x, std::span<float> scratch, std::span<float> shares) const;
};

// y = x + norm(right(left(x))) (Menghani et al. 2024, "LAuReL", arXiv:2411.07501, the low-rank form).
struct Laurel {
  std::unique_ptr<Linear> left, right;  // [rank, n_embd], [n_embd, rank]
  NormWeights norm;                     // [n_embd]

  void operator()(Step& s, const LayerConfig& c, MatView<const float> x, MatView<float> y) const;

  template <class Each>
  void for_each_linear(const Each& each) {
    for (auto* linear : {&left, &right})
      if (*linear) each(*linear);
  }
};

}  // namespace hunch
