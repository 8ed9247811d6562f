// LoftQ's split of a matrix: Li et al. 2023, "LoftQ: LoRA-Fine-Tuning-Aware Quantization" (arXiv:2310.08659),
// algorithm 1.
#pragma once
#include "compress/matrix/block_target.h"
#include "compress/whitened_svd.h"

namespace hunch {

struct LoftqSplit {
  EncodedMatrix base;   // Q
  LowRankFactors pair;  // U [n_out, rank], V [rank, n_in], in f32
};

// W ~ Q + U V: `rounds` times Q = round(W - U V), then U V = the best of this rank for W - Q, from U V = 0 on. Best for
// the weights, as published, or for the outputs on inputs with this second moment (which is SVD-LLM's whitening of the
// residual). The rounds' best is kept: rounding may undo what the last one found.
//
//   W [n_out, n_in]   moment [n_in, n_in], or null   1 <= rank <= min(n_out, n_in)   rounds >= 1
//
// Throws as factorise().
LoftqSplit loftq(Compute& compute, const Matrix& W, const BlockTarget& target, size_t rank, size_t rounds,
                 const Matrix* moment = nullptr);

}  // namespace hunch
