// The sidecar of a planted model: predictors made from what was planted, instead of learnt from a text.
#pragma once
#include "io/model_file.h"
#include "model/sidecar.h"
#include "synth/synth.h"

namespace hunch {

// For every layer a low-rank predictor of rank n_contexts (rounded up to whole blocks): a neuron's score is the part of
// its pre-activation that the context decides, and is chosen above the middle between served and other contexts. With a
// head density below 1, a linear one for the heads: those that serve the context. Training cannot find much more, the
// rest being noise, and takes hours on a large model. Quality is not measured: the curves have one point, whose loss is
// 0.
//
//   model  what write_synth wrote with these options; read once, for its identity
//
// Throws Error{kUsage} where nothing was planted or the activation has no exact zeros, Error{kInterrupted} when `stop`
// asks for it.
Sidecar synth_sidecar(const SynthOptions& options, const ModelFile& model, const Progress& progress = {},
                      const Stop* stop = nullptr);

}  // namespace hunch
