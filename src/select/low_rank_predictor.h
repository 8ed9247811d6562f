// A classifier of two thin matrices: the predictor of Deja Vu (Liu et al. 2023, arXiv:2310.17157) and, with
// other numbers in the same form, a truncated SVD of W_up.
#pragma once
#include <vector>

#include "kernels/matmul.h"
#include "select/predictor.h"

namespace hunch {

struct LowRankWeights {
  WeightView W_in;          // [rank, n_in]   any dtype that computes
  WeightView W_out;         // [n_out, rank]
  std::vector<float> bias;  // [n_out]
  bool relu = false;        // a ReLU between the two (PowerInfer has one, Deja Vu's code has none)
};

// score = W_out f(W_in x) + bias, f the identity or ReLU.
class LowRankPredictor : public Predictor {
 public:
  // The matrices must outlive the predictor. Shapes are checked: HUNCH_CHECK.
  explicit LowRankPredictor(LowRankWeights weights);

  void score(Compute& compute, MatView<const float> X, MatView<float> scores) const override;
  std::string_view kind() const override { return "lowrank"; }
  size_t n_in() const override { return w_.W_in.cols; }
  size_t n_out() const override { return w_.W_out.rows; }
  size_t rank() const { return w_.W_in.rows; }
  size_t bytes() const override;
  std::string_view stored_kind() const override { return w_.relu ? "lowrank_relu" : "lowrank"; }
  std::shared_ptr<const Predictor> part(size_t first, size_t n) const override;
  void save(ArchiveWriter& archive) const override;
  // nullptr for another kind's.
  static std::shared_ptr<const Predictor> load(std::string_view kind, size_t n_in, size_t n_out,
                                               const ArchiveReader& archive);
  const LowRankWeights& weights() const { return w_; }

 private:
  LowRankWeights w_;
};

}  // namespace hunch
