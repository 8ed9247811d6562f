// Which neurons of each of a mixture's experts will matter: a predictor for each expert.
#pragma once
#include <vector>

#include "select/predictor.h"

namespace hunch {

// All experts' scores are of one scale, so that one threshold serves them. (As of a ReLU mixture: Song et al. 2024,
// "Turbo Sparse", arXiv:2406.05955, section 6, whose predictors stand beside each expert.)
class ExpertPredictors final : public Predictor {
 public:
  // [n_expert] of one kind, n_in and n_out; none: all neurons of that expert are computed. Throws Error{kFormat} where
  // they differ or there is none at all.
  explicit ExpertPredictors(std::vector<std::shared_ptr<const Predictor>> experts);
  // nullptr: another kind.
  static std::shared_ptr<const Predictor> load(std::string_view stored_kind, size_t n_in, size_t n_out,
                                               const ArchiveReader& archive);

  const Predictor* of(uint32_t expert) const override {
    return expert < experts_.size() ? experts_[expert].get() : nullptr;
  }
  size_t n_experts() const override { return experts_.size(); }
  void score(Compute& compute, MatView<const float> X, MatView<float> scores) const override;  // never: of() does
  std::string_view kind() const override { return any_->kind(); }
  size_t n_in() const override { return any_->n_in(); }
  size_t n_out() const override { return any_->n_out(); }
  size_t bytes() const override;  // of one expert, the mean
  std::string_view stored_kind() const override { return stored_kind_; }
  std::shared_ptr<const Predictor> part(size_t first, size_t n) const override;
  void save(ArchiveWriter& archive) const override;

 private:
  std::vector<std::shared_ptr<const Predictor>> experts_;
  const Predictor* any_ = nullptr;
  std::string stored_kind_;
};

}  // namespace hunch
