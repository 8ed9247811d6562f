// Who serves which contexts: for every neuron (or head) a small set of contexts, few of them with large sets.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "synth/noise.h"

namespace hunch {

// Sets of context numbers, one per member.
class ContextSets {
 public:
  std::span<const uint16_t> of(size_t member) const {
    return std::span(ids_).subspan(begin_[member], begin_[member + 1] - begin_[member]);
  }
  void push(std::span<const uint16_t> ids) {
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    begin_.push_back(ids_.size());
  }

 private:
  std::vector<size_t> begin_ = {0};
  std::vector<uint16_t> ids_;
};

// Shares of the contexts that each of n members serves, in random order: min(1, A r^-exponent) over the members'
// ranks r, with A such that the mean of response(share) is `target`. Exponent 0.8 is about as skewed as measured
// models (PowerInfer, section 2.2: a quarter of OPT-30B's neurons makes four fifths of the activations).
std::vector<double> skewed_shares(size_t n, double exponent, double target,
                                  const std::function<double(double share)>& response, SynthNoise& noise);

// Sets whose sizes are shares[i] * n_contexts, rounded so that their sum keeps, and drawn so that every context
// is served by almost the same number of members.
ContextSets deal_contexts(std::span<const double> shares, size_t n_contexts, SynthNoise& noise);

}  // namespace hunch
