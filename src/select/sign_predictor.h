// The predictor of one bit per weight: neurons whose weights have the signs of their input fire.
#pragma once
#include <vector>

#include "select/predictor.h"

namespace hunch {

struct SignWeights {
  const uint64_t* planes = nullptr;  // [n_ff, sign_words(n_in)] signs of the first product's rows
  size_t n_ff = 0, n_in = 0;
  std::vector<float> slope, bias;  // [n_ff]
};

// score = bias - slope * d, d the number of inputs whose sign differs from the weight's. SparseInfer (Shin et al.
// 2024, arXiv:2411.12692) compares d with the number that agree, the same for all neurons; here the scale of each
// neuron is fitted (compress/sign_fit.h), since biases, and inputs that are always of one sign, shift d.
class SignPredictor : public Predictor {
 public:
  // The planes must outlive the predictor. Sizes are checked: HUNCH_CHECK.
  explicit SignPredictor(SignWeights weights);

  void score(Compute& compute, MatView<const float> X, MatView<float> scores) const override;
  std::string_view kind() const override { return "signs"; }
  size_t n_in() const override { return w_.n_in; }
  size_t n_out() const override { return w_.n_ff; }
  size_t bytes() const override;
  std::shared_ptr<const Predictor> part(size_t first, size_t n) const override;
  void save(ArchiveWriter& archive) const override;
  // nullptr for another kind's.
  static std::shared_ptr<const Predictor> load(std::string_view kind, size_t n_in, size_t n_out,
                                               const ArchiveReader& archive);
  const SignWeights& weights() const { return w_; }

 private:
  SignWeights w_;
};

}  // namespace hunch
