// Which neurons a block of a prompt's tokens computes: those that a few of its tokens use most.
#pragma once
#include "select/prompt_statistic.h"

namespace hunch {

// Tokens of a prompt are taken in blocks; of a block some, evenly, compute all neurons, and of these the ones with the
// largest statistic (select/prompt_statistic.h) are computed for the whole block: tokens that stand together use the
// same neurons. After "FastForward" (2026, arXiv:2602.00397), whose blocks of 128 tokens choose by a trained predictor
// of what their tokens will use; here nothing is trained, and a sixteenth of the block's work tells.
struct PromptNeurons {
  static constexpr size_t kBlock = 128;  // tokens, counted from the text's beginning
  static constexpr size_t kLeast = 32;   // a block of fewer is computed whole
  static constexpr size_t kEvery = 16;   // of so many tokens one tells

  // Of n tokens those that tell: rows 0, kEvery, ...
  static MatView<const float> telling(MatView<const float> x) {
    return {x.data, (x.rows + kEvery - 1) / kEvery, x.cols, kEvery * x.row_stride};
  }
  // The ceil(share * n_ff) neurons that these activations Z [n, n_ff] use most.
  static void choose(Compute& compute, MatView<const float> Z, double share, PromptStatistic& statistic, Rows& out);
};

}  // namespace hunch
