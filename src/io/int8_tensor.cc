#include "io/int8_tensor.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hunch {
namespace {

constexpr std::string_view kWeight = ".weight";

const Tensor* beside(const ModelFile& file, const std::string& name, DType dtype) {
  const Tensor* t = file.find(name);
  if (t && t->dtype != dtype)
    fail(ErrorKind::kFormat, "tensor '{}': expected {}, found {}", name, name_of(dtype), name_of(t->dtype));
  return t;
}

std::vector<float> scales(const ModelFile& file, const std::string& name) {
  const Tensor* t = beside(file, name, DType::kF32);
  if (!t) return {};
  std::vector<float> values(t->n_elems());
  std::ranges::copy(t->data, std::as_writable_bytes(std::span(values)).begin());
  for (const float v : values)
    if (!std::isfinite(v) || v < 0) fail(ErrorKind::kFormat, "tensor '{}': expected scales, found {}", name, v);
  return values;
}

}  // namespace

std::string without_weight(const std::string& tensor) {
  return tensor.ends_with(kWeight) ? tensor.substr(0, tensor.size() - kWeight.size()) : tensor;
}

bool is_int8(const ModelFile& file, const Tensor& t) {
  return t.dtype == DType::kI8 && t.name.ends_with(kWeight) && t.shape.size() >= 2 &&
         file.find(int8_scale(without_weight(t.name)));
}

bool is_beside_int8(const ModelFile& file, const Tensor& t) {
  const size_t dot = t.name.rfind(".int8_");
  if (dot == t.name.npos) return false;
  const Tensor* codes = file.find(t.name.substr(0, dot) + std::string(kWeight));
  return codes && is_int8(file, *codes);
}

Int8Tensor::Int8Tensor(const ModelFile& file, const Tensor& codes) : codes_(codes.view()) {
  const std::string name = without_weight(codes.name);
  if (codes_.rows == 0 || codes_.cols == 0) fail(ErrorKind::kFormat, "tensor '{}' is empty", codes.name);
  const size_t n_matrices = codes.shape.size() > 2 ? codes.rows() / codes.shape[codes.shape.size() - 2] : 1;
  scale_ = scales(file, int8_scale(name));
  if (scale_.size() != codes_.rows && scale_.size() != n_matrices)
    fail(ErrorKind::kFormat, "tensor '{}': expected a scale for each of {} rows or {} matrices, found {}",
         int8_scale(name), codes_.rows, n_matrices, scale_.size());
  rows_of_scale_ = codes_.rows / scale_.size();
  input_ = scales(file, int8_input(name));
  if (!input_.empty() && input_.size() != n_matrices)
    fail(ErrorKind::kFormat, "tensor '{}': expected {} scales of inputs, found {}", int8_input(name), n_matrices,
         input_.size());
  if (!input_.empty()) rows_of_input_ = codes_.rows / n_matrices;
  const Tensor* apart = beside(file, int8_outliers(name), DType::kI32);
  if (!apart) return;
  const Tensor* weight = beside(file, int8_outlier_weight(name), DType::kF16);
  outliers_.resize(apart->n_elems());
  std::ranges::copy(apart->data, std::as_writable_bytes(std::span(outliers_)).begin());
  for (size_t i = 0; i < outliers_.size(); ++i)
    if (outliers_[i] >= codes_.cols || (i > 0 && outliers_[i] <= outliers_[i - 1]))
      fail(ErrorKind::kFormat, "tensor '{}': expected ascending inputs below {}, found {}", apart->name, codes_.cols,
           outliers_[i]);
  if (n_matrices != 1 || outliers_.empty() || !weight || weight->rows() != codes_.rows ||
      weight->cols() != outliers_.size())
    fail(ErrorKind::kFormat, "tensor '{}' of {} inputs: expected weights '{}' [{}, {}], found [{}]", apart->name,
         outliers_.size(), int8_outlier_weight(name), codes_.rows, outliers_.size(),
         weight ? fmt::format("{}", fmt::join(weight->shape, ", ")) : "none");
  outlier_weight_ = weight->view();
}

void Int8Tensor::decode(size_t row, std::span<float> out) const {
  const auto* codes = reinterpret_cast<const int8_t*>(codes_.row(row));
  for (size_t c = 0; c < out.size(); ++c) out[c] = scale(row) * float(codes[c]);
  if (outliers_.empty()) return;
  std::vector<float> apart(outliers_.size());
  codec(outlier_weight_.dtype).decode(outlier_weight_.row(row), apart.data(), apart.size());
  for (size_t i = 0; i < apart.size(); ++i) out[outliers_[i]] += apart[i];
}

}  // namespace hunch
