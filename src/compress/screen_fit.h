// The screen of the vocabulary for a model's output projection.
#pragma once
#include <memory>
#include <span>

#include "base/progress.h"
#include "engine/generate.h"
#include "select/vocab_screen.h"

namespace hunch {

struct ScreenFit {
  std::shared_ptr<const VocabScreen> screen;  // none: it would not save a fifth of the bytes
  // On the text kept for the check:
  size_t rank = 0;
  double shortlist = 0;              // mean number of rows computed exactly, where it was not all
  double all = 0;                    // share of the tokens for which all rows are
  double bytes = 0, full_bytes = 0;  // per token, with and without
  size_t n_checked = 0, n_same = 0;  // tokens; those whose largest logit was on the list
};

// Directions are the leading principal ones of the final states (uncentred) over `train`, at most 4096 tokens; row i's
// part along them is kept in q8_0, the norm of its rest tells the error to expect. The margin is the largest |error| /
// deviation over all rows on `calibrate`, at most 1024 tokens, and a tenth more. Of a few ranks the one that reads
// least there is taken, and measured on `check`, at most 1024 tokens too.
ScreenFit fit_screen(const Engine& engine, std::span<const int32_t> train, std::span<const int32_t> calibrate,
                     std::span<const int32_t> check, const Progress& progress = {});

}  // namespace hunch
