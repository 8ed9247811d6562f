// Deja Vu's training of a predictor, from the closed form on.
#pragma once
#include "base/progress.h"
#include "compress/low_rank_fit.h"

namespace hunch {

struct TrainOptions {
  size_t n_epochs = 6;  // at most
  size_t batch = 512;   // tokens
  double rate = 0.02;   // step of a matrix, relative to its root mean square
  double weight_decay = 0.01;
  bool relu = false;  // between the two matrices
  uint64_t seed = 1;
};

struct TrainReport {
  size_t n_epochs = 0;
  double loss_before = 0, loss = 0;  // on the tokens that are not trained on
};

// Trains `fit` in place on the trace's first n_tokens tokens, the last twentieth of which is only watched: stops when
// its loss has not improved for one epoch, and keeps the best state. The loss is binary cross-entropy on "contributes",
// negatives weighted by mean(label) + 0.005, which favours recall (Liu et al. 2023, the authors' code); AdamW with
// steps relative to each matrix's size. Multi-threaded; Ctrl-C throws Error{kInterrupted}.
TrainReport train_low_rank(Compute& compute, LowRankFit& fit, const MlpTrace& trace, size_t n_tokens,
                           const TrainOptions& options, const Progress& progress = {});

}  // namespace hunch
