// The static predictor: the same neurons for every token.
#pragma once
#include <vector>

#include "select/predictor.h"

namespace hunch {

// Scores every neuron by a constant (how often and how strongly it fired on the calibration text), whatever
// the input: what a layer with a few busy neurons needs, and the yardstick that a contextual predictor has to
// beat (Liu et al. 2023 show non-contextual selection to lose accuracy early).
class HotSetPredictor : public Predictor {
 public:
  HotSetPredictor(std::vector<float> scores, size_t n_in) : scores_(std::move(scores)), n_in_(n_in) {}

  void score(Compute& compute, MatView<const float> X, MatView<float> scores) const override;
  std::string_view kind() const override { return "hot"; }
  size_t n_in() const override { return n_in_; }
  size_t n_out() const override { return scores_.size(); }
  size_t bytes() const override { return scores_.size() * sizeof(float); }
  std::shared_ptr<const Predictor> part(size_t first, size_t n) const override;
  void save(ArchiveWriter& archive) const override;
  // nullptr for another kind's.
  static std::shared_ptr<const Predictor> load(std::string_view kind, size_t n_in, size_t n_out,
                                               const ArchiveReader& archive);
  const std::vector<float>& scores() const { return scores_; }

 private:
  std::vector<float> scores_;  // [n_out]
  size_t n_in_;
};

}  // namespace hunch
