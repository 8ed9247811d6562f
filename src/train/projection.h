// A matrix of a model while it is trained: its weights as the model has them and left alone, of its own in f32, or with
// an adapter of low rank beside them.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "formats/dtype.h"
#include "linear/linear.h"
#include "train/parameters.h"
#include "train/products.h"

namespace hunch {

enum class LowRankKind : uint8_t {
  kLora,    // W x + alpha / rank * B A x (Hu et al. 2021, arXiv:2106.09685)
  kRsLora,  // alpha / sqrt(rank) (Kalajdzievski 2023, arXiv:2312.03732)
  kDora,    // rows of W + alpha / rank * B A get lengths of their own (Liu et al. 2024, arXiv:2402.09353)
};

struct AdapterOptions {
  LowRankKind kind = LowRankKind::kLora;
  size_t rank = 8;
  float alpha = 16;

  float scale() const;
};

class Projection {
 public:
  // `base` [n_out, n_in] outlives this: its weights, in whatever form, and its bias are used as they are.
  explicit Projection(const Linear& base) : base_(&base) {}

  // Trains a copy of the weights in f32, and of the bias where there is one. `name` is the tensor's without ".weight".
  void train_weights(Compute& compute, Parameters& parameters, size_t layer, const std::string& name);
  // Uses the weights of another parameter [n_out, n_in] (an output that is tied to the embedding).
  void share_weights(Parameter& weights) { weights_ = &weights; }
  // Quantisation-aware training, after train_weights(): products use the weights rounded to blocks of `dtype`, as they
  // will be written, and what reaches a rounded weight is taken for the weight's own gradient (the straight-through
  // estimate: Bengio et al. 2013, arXiv:1308.3432). Throws Error{kUsage} for blocks that do not fit the rows.
  void round_weights(Compute& compute, DType dtype);
  // After round_weights(): each row is clipped to a learned multiple of its mean magnitude before it is rounded (as
  // QuantGPT has it for modules: Tao et al. 2022, arXiv:2203.10705, section 3.3; the gradient is LSQ's, Esser et al.
  // 2020, arXiv:1902.08153). At first nothing is clipped.
  void learn_clipping(Compute& compute, Parameters& parameters, size_t layer, const std::string& name);
  // When a step's gradients are complete: those of clipped weights, and of the multiples.
  void finish_gradients(Compute& compute) const;
  // A row of the weights as it is rounded.
  void clipped_row(size_t row, std::span<float> out) const;
  // After train_weights(): weights that are 0 stay so; and the share of the weights that is nearest to 0 becomes so,
  // and stays (Han et al. 2015, arXiv:1506.02626).
  void keep_zeros();
  void prune(double share);
  // Adds B A beside the weights: A uniform in +-1/sqrt(n_in) by `seed` and name, B zeros, so that it changes nothing
  // yet; DoRA's lengths are those of the rows.
  void add_low_rank(Compute& compute, Parameters& parameters, size_t layer, const std::string& name,
                    const AdapterOptions& options, uint64_t seed);
  // DoRA's lengths become those of the rows of W + s B A; nothing of other adapters.
  void begin_magnitudes(Compute& compute);
  // Multiplies outputs, bias and all, or inputs by factors, at first 1 (IA3: Liu et al. 2022, arXiv:2205.05638).
  // Nothing else of the matrix is trained.
  void add_factors(Parameters& parameters, size_t layer, const std::string& name, bool of_inputs);
  // Of all products from now on. Products with weights that are left alone read them in their own form in f32; in bf16
  // they are decoded first.
  void set_precision(Precision precision) { precision_ = precision; }
  // To be called when parameters have changed: DoRA's norms and rounded weights are of the present ones.
  void refresh(Compute& compute);

  const Linear& base() const { return *base_; }
  struct LowRank {
    AdapterOptions options;
    Parameter *A, *B, *magnitude;  // [rank, n_in], [n_out, rank], [1, n_out] of DoRA
    std::vector<float> norms;      // [n_out] of the rows of W + s B A, as of the last refresh()
  };
  const std::optional<LowRank>& low_rank() const { return low_rank_; }
  Parameter* weights() const { return weights_; }
  Parameter* output_factors() const { return output_factors_; }  // [1, n_out], or none
  Parameter* input_factors() const { return input_factors_; }    // [1, n_in], or none
  std::optional<DType> rounds_to() const { return rounds_to_; }
  Parameter* bias() const { return bias_; }

  // Y = the product of X [n_tokens, n_in]; Y [n_tokens, n_out] is written.
  void forward(Compute& compute, MatView<const float> X, MatView<float> Y) const;
  // From dY to dX (no data: nobody wants to know), and to the gradients of the parameters, which are added to.
  // `counts_bias` false: the bias changes nothing that anyone sees, its gradient is 0.
  void backward(Compute& compute, MatView<const float> X, MatView<const float> dY, Into into, MatView<float> dX,
                bool counts_bias = true) const;

 private:
  void round(Compute& compute);
  void apply_mask(Compute& compute);
  float bound_of(size_t row) const;  // of a clipped row
  void factors_backward(Compute& compute, MatView<const float> X, MatView<const float> dY, Into into,
                        MatView<float> dX) const;
  void plain_forward(Compute& compute, MatView<const float> X, MatView<float> Y) const;
  void plain_backward(Compute& compute, MatView<const float> dY, Into into, MatView<float> dX) const;
  void add_low_rank_product(Compute& compute, MatView<const float> X, MatView<float> Y) const;
  void low_rank_backward(Compute& compute, MatView<const float> X, MatView<const float> dY, MatView<float> dX) const;
  MatView<const float> stretched(Compute& compute, MatView<const float> X, MatView<const float> dY) const;
  std::span<const float> bias_values() const { return bias_ ? bias_->values() : base_->bias(); }

  MatView<float> decoded_base(Compute& compute) const;

  const Linear* base_;
  Precision precision_ = Precision::kF32;
  // What products use of weights that are trained.
  MatView<const float> present_weights() const { return rounds_to_ ? rounded_ : weights_->value; }

  Parameter *weights_ = nullptr, *bias_ = nullptr, *clip_ = nullptr;
  Parameter *output_factors_ = nullptr, *input_factors_ = nullptr;
  std::optional<LowRank> low_rank_;
  std::optional<DType> rounds_to_;
  std::vector<uint8_t> is_zero_;  // [n_out * n_in] of weights that stay 0; or empty
  AlignedBuffer rounded_memory_;
  MatView<float> rounded_;
};

}  // namespace hunch
