#include "io/quantised_fp8.h"

#include <cstring>

#include "base/error.h"
#include "formats/fp8.h"
#include "io/printable.h"

namespace hunch {

Float8Matrix::Float8Matrix(const Tensor& weight, const Tensor& scales, const QuantisedConfig& config)
    : bytes_(weight.data.data()), scales_(numbers_of(scales)) {
  name = weight.name;
  shape = weight.shape;
  if (shape.size() != 2 || weight.n_elems() == 0)
    fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], expected a matrix", printable(name), fmt::join(shape, ", "));
  rows = shape[0];
  cols = shape[1];
  stored_bytes = weight.data.size() + scales.data.size();
  if (scales_.size() == 1) {
    block_rows_ = rows;
    block_cols_ = cols;
  } else if (scales_.size() == rows && scales.shape[0] == rows) {
    block_cols_ = cols;
  } else {
    const size_t r = config.block_rows, c = config.block_cols;
    if (r == 0 || c == 0)
      fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], expected one scale, or one for each of {} rows",
           printable(scales.name), fmt::join(scales.shape, ", "), rows);
    expect_shape(scales, {(rows + r - 1) / r, (cols + c - 1) / c});
    block_rows_ = r;
    block_cols_ = c;
    scale_cols_ = scales.shape[1];
  }
  for (size_t i = 0; i < numbers_.size(); ++i) numbers_[i] = e4m3_to_f32(uint8_t(i));
}

void Float8Matrix::values(size_t row, float* out) const {
  const float* scale = scales_.data() + row / block_rows_ * scale_cols_;
  for (size_t i = 0; i < cols; ++i) out[i] = numbers_[uint8_t(bytes_[row * cols + i])] * scale[i / block_cols_];
}

// A block's scale must be one number.
std::optional<DType> Float8Matrix::blocks() const {
  if (block_cols_ < cols && block_cols_ % info(DType::kFP8).block_elems != 0) return std::nullopt;
  return DType::kFP8;
}

void Float8Matrix::write_blocks(size_t row, std::byte* out) const {
  using Block = format::FP8::Block;
  constexpr size_t kElems = format::FP8::kFormat.block_elems;
  const float* scale = scales_.data() + row / block_rows_ * scale_cols_;
  for (size_t i = 0; i < cols; i += kElems, out += sizeof(Block)) {
    Block block;
    block.scale[0] = scale[i / block_cols_];
    std::memcpy(block.q, bytes_ + row * cols + i, sizeof block.q);
    for (const uint8_t q : block.q)
      if ((q & 0x7f) == 0x7f)
        fail(ErrorKind::kFormat, "tensor '{}' has a weight in row {} that is no number (NaN)", printable(name), row);
    std::memcpy(out, &block, sizeof block);
  }
}

MatrixList fp8_matrices(TensorSet& tensors, const QuantisedConfig& config, const std::set<std::string>& float8) {
  MatrixList out;
  for (const std::string& name : float8) {
    if (!name.ends_with(".weight")) continue;
    const std::string base = without_suffix(name, ".weight");
    const Tensor* scale = tensors.take_if_present(base + ".weight_scale_inv");  // the multiplier, for all its name
    if (!scale) scale = &tensors.take(base + ".weight_scale", base);
    out.push_back(std::make_unique<Float8Matrix>(tensors.take(name, base), *scale, config));
    // How activations would be rounded; here they are not.
    for (const char* of_inputs : {".input_scale", ".input_scale_ub", ".activation_scale"})
      tensors.take_if_present(base + of_inputs);
  }
  return out;
}

}  // namespace hunch
