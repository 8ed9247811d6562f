// Outlier channels, as models of billions of parameters have them (Dettmers et al. 2022, arXiv:2208.07339, section 4):
// a few inputs, the same in every layer, are 20 to 100 times as large as the others.
#pragma once
#include "synth/weights.h"

namespace hunch {

// Factors of `options.n_outliers` channels: norms are multiplied by them, and the columns of the matrices that read a
// norm divided, so that the function stays.
struct OutlierChannel {
  size_t channel;
  double factor;
};
std::vector<OutlierChannel> outlier_channels(const SynthOptions& options);

// Throws Error{kUsage} for a shape with experts or recurrences, or fewer than eight channels to each outlier.
void plant_outliers(const SynthOptions& options, std::vector<SynthTensor>& tensors);

}  // namespace hunch
