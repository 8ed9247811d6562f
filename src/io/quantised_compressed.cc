// compressed-tensors: integers packed into words, integers of 8 bits, and floats of 8 bits.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "io/printable.h"
#include "io/quantised_fp8.h"

namespace hunch {
namespace {

// Integers q of at most 8 bits less a zero point z times a scale. Both lie in [out, groups].
class Integers : public IntegerMatrix {
 public:
  bool integers(size_t row, int16_t* q, float* scale) const override {
    for (size_t i = 0; i < cols; ++i) {
      const size_t at = scale_rows_ == 1 ? group_[i] : row * n_groups_ + group_[i];
      q[i] = int16_t(code(row, i) - zeros_[at]);
      scale[i] = scales_[at];
    }
    return true;
  }

 protected:
  virtual int code(size_t row, size_t col) const = 0;

  void set_shape(uint64_t n_out, uint64_t n_in, const Tensor& weight) {
    if (n_out == 0 || n_in == 0 || n_out > UINT32_MAX || n_in > UINT32_MAX)
      fail(ErrorKind::kFormat, "tensor '{}' is a matrix of {} x {}", printable(weight.name), n_out, n_in);
    shape = {n_out, n_in};
    rows = n_out;
    cols = n_in;
  }

  // One scale, or [out], [out, groups].
  void set_scales(TensorSet& tensors, const std::string& base, const QuantisedConfig& config) {
    const Tensor& scales = tensors.take(base + ".weight_scale", base);
    scales_ = numbers_of(scales);
    stored_bytes += scales.data.size();
    if (scales_.size() != 1) {
      scale_rows_ = rows;
      n_groups_ = scales.shape.size() == 2 ? scales.shape[1] : 1;
      if (n_groups_ == 0 || scales.shape[0] != rows || scales_.size() != rows * n_groups_)
        fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], expected [{}, groups]", printable(scales.name),
             fmt::join(scales.shape, ", "), rows);
    }
    zeros_.assign(scales_.size(), 0);
    const Tensor* g_idx = tensors.take_if_present(base + ".weight_g_idx");
    group_ = g_idx ? listed_groups(*g_idx, cols, n_groups_) : even_groups(cols, n_groups_, config, name);
    if (g_idx) stored_bytes += g_idx->data.size();
    order = order_by_group(group_);
    for (const char* of_inputs : {".input_scale", ".input_zero_point"}) tensors.take_if_present(base + of_inputs);
  }

  std::vector<uint32_t> group_;  // [in]
  std::vector<float> scales_;
  std::vector<int16_t> zeros_;  // as scales_
  size_t scale_rows_ = 1, n_groups_ = 1;
};

// weight_packed [out, in * bits / 32], lowest bits first; a code is the integer plus half of the range.
class Packed : public Integers {
 public:
  Packed(TensorSet& tensors, const std::string& base, const QuantisedConfig& config)
      : words_(tensors.take(base + ".weight_packed", base)) {
    name = base + ".weight";
    expect_type(words_, DType::kI32);
    const Tensor& size = tensors.take(base + ".weight_shape", base);
    if (size.n_elems() != 2 || (size.dtype != DType::kI64 && size.dtype != DType::kI32))
      fail(ErrorKind::kFormat, "tensor '{}' is {} [{}], expected two integers", printable(size.name),
           name_of(size.dtype), fmt::join(size.shape, ", "));
    uint64_t dims[2];
    for (size_t i = 0; i < 2; ++i) {
      if (size.dtype == DType::kI64) {
        std::memcpy(&dims[i], size.data.data() + i * 8, 8);
      } else {
        dims[i] = word_of(size, i);
      }
    }
    set_shape(dims[0], dims[1], words_);
    for (const size_t bits : {2, 4, 8})
      if (words_.shape.size() == 2 && words_.shape[0] == rows && words_.shape[1] == (cols * bits + 31) / 32)
        bits_ = bits;
    if (bits_ == 0)
      fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], which is not {} x {} numbers of 2, 4 or 8 bits",
           printable(words_.name), fmt::join(words_.shape, ", "), rows, cols);
    stored_bytes = words_.data.size();
    set_scales(tensors, base, config);
    if (const Tensor* zeros = tensors.take_if_present(base + ".weight_zero_point")) set_zeros(*zeros);
  }

 private:
  int code(size_t row, size_t col) const override {
    return bits_at(word_of(words_, row * words_.shape[1] + col * bits_ / 32), col);
  }
  int bits_at(uint32_t word, size_t i) const {
    return int(word >> i * bits_ % 32 & ((1u << bits_) - 1)) - (1 << (bits_ - 1));
  }
  // [out * bits / 32, groups], packed along the outputs.
  void set_zeros(const Tensor& zeros) {
    expect_type(zeros, DType::kI32);
    expect_shape(zeros, {(scale_rows_ * bits_ + 31) / 32, n_groups_});
    for (size_t r = 0; r < scale_rows_; ++r)
      for (size_t g = 0; g < n_groups_; ++g)
        zeros_[r * n_groups_ + g] = int16_t(bits_at(word_of(zeros, r * bits_ / 32 * n_groups_ + g), r));
    stored_bytes += zeros.data.size();
  }

  const Tensor& words_;
  size_t bits_ = 0;
};

// weight [out, in] of bytes.
class Bytes : public Integers {
 public:
  Bytes(TensorSet& tensors, const std::string& base, const QuantisedConfig& config)
      : bytes_(tensors.take(base + ".weight", base)) {
    name = bytes_.name;
    if (bytes_.shape.size() != 2)
      fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], expected a matrix", printable(name),
           fmt::join(bytes_.shape, ", "));
    set_shape(bytes_.shape[0], bytes_.shape[1], bytes_);
    stored_bytes = bytes_.data.size();
    set_scales(tensors, base, config);
    if (const Tensor* zeros = tensors.take_if_present(base + ".weight_zero_point")) {
      expect_type(*zeros, DType::kI8);
      if (zeros->n_elems() != zeros_.size())
        fail(ErrorKind::kFormat, "tensor '{}' has {} numbers, expected one for each of {} scales",
             printable(zeros->name), zeros->n_elems(), zeros_.size());
      for (size_t i = 0; i < zeros_.size(); ++i) zeros_[i] = int8_t(zeros->data[i]);
      stored_bytes += zeros->data.size();
    }
  }

 private:
  int code(size_t row, size_t col) const override { return int8_t(bytes_.data[row * cols + col]); }

  const Tensor& bytes_;
};

}  // namespace

MatrixList compressed_tensors_matrices(TensorSet& tensors, const QuantisedConfig& config,
                                       const std::set<std::string>& float8) {
  MatrixList out;
  for (const std::string& name : tensors.ending_with(".weight_packed"))
    out.push_back(std::make_unique<Packed>(tensors, without_suffix(name, ".weight_packed"), config));
  for (const std::string& name : tensors.ending_with(".weight_scale")) {
    if (tensors.is_taken(name)) continue;
    const std::string base = without_suffix(name, ".weight_scale");
    const Tensor* weight = tensors.find(base + ".weight");
    if (!weight) continue;
    if (float8.contains(weight->name)) {
      out.push_back(std::make_unique<Float8Matrix>(tensors.take(weight->name, base), tensors.take(name, base), config));
      for (const char* of_inputs : {".input_scale", ".weight_zero_point"}) tensors.take_if_present(base + of_inputs);
    } else {
      expect_type(*weight, DType::kI8);
      out.push_back(std::make_unique<Bytes>(tensors, base, config));
    }
  }
  return out;
}

}  // namespace hunch
