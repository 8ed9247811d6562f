// The selectors without a state of their own: exact zeros, magnitudes, predictors.
#pragma once
#include "select/predictor.h"
#include "select/selector.h"

namespace hunch {

// kLive: what an activation of the ReLU family did not make zero. Leaves out nothing that would add anything.
class ReluZeros final : public Selector {
 public:
  void choose(Compute& compute, const Evidence& evidence, std::span<Rows> out) const override;
  std::string_view kind() const override { return "relu"; }
};

// kLive: activations of the gate above a threshold (CATS, Lee et al. 2024, arXiv:2404.08763, section 3.1). kInputs:
// large inputs of a projection (TEAL, Liu et al. 2024, arXiv:2408.14690, section 4).
class Magnitude final : public Selector {
 public:
  explicit Magnitude(float threshold) : threshold_(threshold) {}
  void choose(Compute& compute, const Evidence& evidence, std::span<Rows> out) const override;
  std::string_view kind() const override { return "magnitude"; }
  float threshold() const { return threshold_; }

 private:
  float threshold_;  // |x| above it stays; below 0: everything
};

// kNeurons, kHeads: what a predictor scores above a threshold (Liu et al. 2023, "Deja Vu", arXiv:2310.17157, section
// 4).
class Predicted final : public Selector {
 public:
  // `predictor` must outlive this.
  Predicted(const Predictor& predictor, float threshold) : predictor_(predictor), threshold_(threshold) {}
  void choose(Compute& compute, const Evidence& evidence, std::span<Rows> out) const override;
  std::string_view kind() const override { return "predicted"; }
  size_t bytes() const override { return predictor_.bytes(); }
  const Predictor& predictor() const { return predictor_; }
  float threshold() const { return threshold_; }

 private:
  const Predictor& predictor_;
  float threshold_;
};

// The same, but of every token's neurons as many, those with the largest scores: a share of them, whatever the scores.
// Ranks that each have some of the neurons then have as much to do (docs/scale.md).
class PredictedShare final : public Selector {
 public:
  // `predictor` must outlive this; `share` above 0.
  PredictedShare(const Predictor& predictor, double share) : predictor_(predictor), share_(share) {}
  void choose(Compute& compute, const Evidence& evidence, std::span<Rows> out) const override;
  std::string_view kind() const override { return "predicted share"; }
  size_t bytes() const override { return predictor_.bytes(); }

 private:
  const Predictor& predictor_;
  double share_;
};

// Any point: rows that were chosen elsewhere, for each token of the run that is asked about.
class Given final : public Selector {
 public:
  // own [n_tokens of the run] must outlive this.
  explicit Given(std::span<const Rows> own) : own_(own) {}
  void choose(Compute& compute, const Evidence& evidence, std::span<Rows> out) const override;
  std::string_view kind() const override { return "given"; }

 private:
  std::span<const Rows> own_;
};

}  // namespace hunch
