// A matrix of int8 with scales, as files have it: a tensor NAME.weight of type i8 [n_out, n_in], or [n_expert, n_out,
// n_in], and others beside it.
#pragma once
#include <string>
#include <vector>

#include "io/model_file.h"

namespace hunch {

// F32 [n_out], or [1] for the whole matrix; of a layer's experts [n_expert, n_out], or [n_expert].
inline std::string int8_scale(const std::string& name) { return name + ".int8_scale"; }
// F32 [1], of experts [n_expert]: the scale of inputs; 0, or no such tensor: each token's own.
inline std::string int8_input(const std::string& name) { return name + ".int8_input"; }
// I32 [k], ascending: inputs that are multiplied as floats; and F16 [n_out, k], their weights. None where none are; not
// of experts.
inline std::string int8_outliers(const std::string& name) { return name + ".int8_outliers"; }
inline std::string int8_outlier_weight(const std::string& name) { return name + ".int8_outlier_weight"; }

// NAME of a tensor NAME.weight.
std::string without_weight(const std::string& tensor);
// Whether it is the codes of such a matrix, or one of what stands beside them.
bool is_int8(const ModelFile& file, const Tensor& t);
bool is_beside_int8(const ModelFile& file, const Tensor& t);

// A view of what the file has, which must outlive it.
class Int8Tensor {
 public:
  // `codes` that is_int8(). Throws Error{kFormat} naming the tensor that does not fit it.
  Int8Tensor(const ModelFile& file, const Tensor& codes);

  // By row of the tensor, experts one after the other.
  float scale(size_t row) const { return scale_[row / rows_of_scale_]; }
  float input_scale(size_t row) const { return input_.empty() ? 0 : input_[row / rows_of_input_]; }  // 0: none
  const std::vector<uint32_t>& outliers() const { return outliers_; }
  const WeightView& outlier_weight() const { return outlier_weight_; }  // [rows, outliers().size()]

  // The numbers of a row; out [n_in].
  void decode(size_t row, std::span<float> out) const;

 private:
  WeightView codes_;
  std::vector<float> scale_, input_;
  size_t rows_of_scale_ = 1, rows_of_input_ = 1;
  std::vector<uint32_t> outliers_;
  WeightView outlier_weight_;
};

}  // namespace hunch
