// A predictor of one matrix: enough for the few heads of a layer.
#pragma once
#include <vector>

#include "kernels/matmul.h"
#include "select/predictor.h"

namespace hunch {

// score = W x + bias: the head router of Polar Sparsity (Shrestha et al. 2025, arXiv:2505.14884). For as few outputs as
// a layer has heads, a rank in between would save nothing.
class LinearPredictor : public Predictor {
 public:
  // W [n_out, n_in], any dtype that computes; must outlive the predictor. Shapes are checked: HUNCH_CHECK.
  LinearPredictor(WeightView W, std::vector<float> bias);

  void score(Compute& compute, MatView<const float> X, MatView<float> scores) const override;
  std::string_view kind() const override { return "linear"; }
  size_t n_in() const override { return W_.cols; }
  size_t n_out() const override { return W_.rows; }
  size_t bytes() const override { return W_.bytes() + bias_.size() * sizeof(float); }
  std::shared_ptr<const Predictor> part(size_t first, size_t n) const override;
  void save(ArchiveWriter& archive) const override;
  // nullptr for another kind's.
  static std::shared_ptr<const Predictor> load(std::string_view kind, size_t n_in, size_t n_out,
                                               const ArchiveReader& archive);
  const WeightView& W() const { return W_; }
  const std::vector<float>& bias() const { return bias_; }

 private:
  WeightView W_;
  std::vector<float> bias_;
};

}  // namespace hunch
