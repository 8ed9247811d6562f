// The closed form of a low-rank predictor: the best linear guess of the neurons' pre-activations.
#pragma once
#include "compress/linear_algebra.h"
#include "compress/mlp_trace.h"
#include "model/weights.h"
#include "select/low_rank_predictor.h"

namespace hunch {

// A predictor in f32, while it is being fitted.
struct LowRankFit {
  Matrix in;                // [rank, n_embd]
  Matrix out;               // [n_ff, rank]
  std::vector<float> bias;  // [n_ff]

  size_t rank() const { return in.rows; }
};

// The best linear guess of every neuron's pre-activation z, of some rank and of every lower one.
struct LowRankBasis {
  Matrix in;                       // [rank, n_embd] hidden values of unit variance, the most telling first
  Matrix out;                      // [n_ff, rank]
  std::vector<float> bias;         // [n_ff] mean of z
  std::vector<float> hidden_mean;  // [rank] of the hidden values
  std::vector<float> variance;     // [n_ff] of z
};

// Reduced-rank regression of z = W x_mlp + b on the predictor's input x over the trace's first n_tokens tokens:
// with C = cov(x) = L L^T and K = cov(x_mlp, x), the best map of rank r in the least squares of S z is the
// projection of S W K L^-T onto its leading right singular vectors, found by subspace iteration (S weighs neurons
// by how far a unit of their activation moves the stream). Where the MLP reads x itself, this is the
// activation-weighted truncated SVD of W.
//
//   first  the MLP's first product: gate where gated, else up
//   norms  [n_ff] ||row of W_down_t||
LowRankBasis fit_basis(Compute& compute, const Linear& first, std::span<const float> norms, const MlpTrace& trace,
                       size_t n_tokens, size_t rank);

// The predictor of the first `rank` hidden values, with scores scaled to log-odds of z > 0: 1.7 times the guess
// over the standard deviation of its error, as the logistic function of slope 1.7 is close to the normal's.
LowRankFit truncate(const LowRankBasis& basis, size_t rank);

// The same scores with a ReLU between the matrices, for twice the rank: each hidden value and its negative. Where
// training of the variant with a hidden ReLU begins.
LowRankFit rectified(const LowRankFit& linear);

}  // namespace hunch
