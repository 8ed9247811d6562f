// AWQ and GPTQ: integers less a zero point times a scale, the integers packed into words of 32 bits.
#include <algorithm>

#include "base/error.h"
#include "io/printable.h"
#include "io/quantised_matrix.h"

namespace hunch {
namespace {

// What both have: scales [group, out], zero points of the same shape, and the group of each input.
class Zeroed : public IntegerMatrix {
 public:
  bool integers(size_t row, int16_t* q, float* scale) const override {
    for (size_t i = 0; i < cols; ++i) {
      const size_t at = group_[i] * rows + row;
      q[i] = int16_t(code(row, i) - zeros_[at]);
      scale[i] = scales_[at];
    }
    return true;
  }

 protected:
  virtual int code(size_t row, size_t col) const = 0;

  void set_scales(const Tensor& scales) {
    if (scales.shape.size() != 2 || scales.shape[1] != rows || scales.shape[0] == 0)
      fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], expected [groups, {}]", printable(scales.name),
           fmt::join(scales.shape, ", "), rows);
    scales_ = numbers_of(scales);
    zeros_.resize(scales_.size());
  }
  size_t n_groups() const { return scales_.size() / rows; }
  void set_shape(size_t n_out, size_t n_in, const Tensor& qweight) {
    if (n_out == 0 || n_in == 0)
      fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], which is empty", printable(qweight.name),
           fmt::join(qweight.shape, ", "));
    rows = n_out;
    cols = n_in;
    shape = {n_out, n_in};
  }

  std::vector<uint32_t> group_;  // [in]
  std::vector<float> scales_;    // [group, out]
  std::vector<uint8_t> zeros_;
};

const Tensor& matrix_of_words(const Tensor& t) {
  expect_type(t, DType::kI32);
  if (t.shape.size() != 2)
    fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], expected a matrix", printable(t.name),
         fmt::join(t.shape, ", "));
  return t;
}

// qweight [in, out / 8], qzeros [group, out / 8]: eight neighbouring outputs a word, in an order of their own.
class Awq : public Zeroed {
 public:
  Awq(TensorSet& tensors, const std::string& base, const QuantisedConfig& config)
      : words_(matrix_of_words(tensors.take(base + ".qweight", base))) {
    name = base + ".weight";
    set_shape(words_.shape[1] * 8, words_.shape[0], words_);
    const Tensor& scales = tensors.take(base + ".scales", base);
    const Tensor& zeros = matrix_of_words(tensors.take(base + ".qzeros", base));
    set_scales(scales);
    expect_shape(zeros, {n_groups(), rows / 8});
    for (size_t g = 0; g < n_groups(); ++g)
      for (size_t r = 0; r < rows; ++r) zeros_[g * rows + r] = uint8_t(nibble(zeros, g, r));
    expect_groups(cols, n_groups(), config, name);
    group_ = even_groups(cols, n_groups(), config, name);
    stored_bytes = words_.data.size() + scales.data.size() + zeros.data.size();
  }

 private:
  int code(size_t row, size_t col) const override { return nibble(words_, col, row); }

  // Of output o in line `line`: outputs 0 to 7 of a word lie in nibbles 0, 4, 1, 5, 2, 6, 3, 7.
  static int nibble(const Tensor& t, size_t line, size_t o) {
    const size_t within = o % 8, place = within / 2 + within % 2 * 4;
    return int(word_of(t, line * t.shape[1] + o / 8) >> 4 * place & 15);
  }

  const Tensor& words_;
};

// qweight [in * bits / 32, out]: down a column the inputs' codes follow each other as a stream of bits, lowest first.
// qzeros [group, out * bits / 32] is such a stream along the outputs.
class Gptq : public Zeroed {
 public:
  Gptq(TensorSet& tensors, const std::string& base, const QuantisedConfig& config)
      : words_(matrix_of_words(tensors.take(base + ".qweight", base))), bits_(config.bits) {
    name = base + ".weight";
    if (words_.shape[0] * 32 % bits_ != 0)
      fail(ErrorKind::kFormat, "tensor '{}' has {} lines of 32 bits, which are no whole numbers of {} bits",
           printable(words_.name), words_.shape[0], bits_);
    set_shape(words_.shape[1], words_.shape[0] * 32 / bits_, words_);
    const Tensor& scales = tensors.take(base + ".scales", base);
    const Tensor& zeros = matrix_of_words(tensors.take(base + ".qzeros", base));
    set_scales(scales);
    expect_groups(cols, n_groups(), config, name);
    if (rows * bits_ % 32 != 0)
      fail(ErrorKind::kFormat, "'{}' has {} outputs, whose zero points of {} bits fill no whole words", printable(base),
           rows, bits_);
    expect_shape(zeros, {n_groups(), rows * bits_ / 32});
    const int all = (1 << bits_) - 1;
    for (size_t g = 0; g < n_groups(); ++g)
      for (size_t r = 0; r < rows; ++r) {
        const int stored = bits_at(zeros, g * zeros.shape[1], 1, r);
        zeros_[g * rows + r] = uint8_t(config.zeros_minus_one ? (stored + 1) & all : stored);
      }
    stored_bytes = words_.data.size() + scales.data.size() + zeros.data.size();
    if (const Tensor* g_idx = tensors.take_if_present(base + ".g_idx")) {
      group_ = listed_groups(*g_idx, cols, n_groups());
      order = order_by_group(group_);
      stored_bytes += g_idx->data.size();
    } else {
      group_ = even_groups(cols, n_groups(), config, name);
    }
    drop_zero_bias(tensors, base + ".bias");
  }

 private:
  int code(size_t row, size_t col) const override { return bits_at(words_, row, rows, col); }

  // Number i of a stream of bits that begins at word `begin` and goes on every `stride` words.
  int bits_at(const Tensor& t, size_t begin, size_t stride, size_t i) const {
    const size_t bit = i * bits_, word = bit / 32, shift = bit % 32;
    uint64_t two = word_of(t, begin + word * stride) >> shift;
    if (shift + bits_ > 32) two |= uint64_t{word_of(t, begin + (word + 1) * stride)} << (32 - shift);
    return int(two & ((1u << bits_) - 1));
  }

  // AutoGPTQ gives every layer that it quantises a bias, of zeros where the model has none.
  static void drop_zero_bias(TensorSet& tensors, const std::string& bias) {
    const Tensor* t = tensors.find(bias);
    if (t && std::ranges::all_of(t->data, [](std::byte b) { return b == std::byte{0}; })) tensors.take_if_present(bias);
  }

  const Tensor& words_;
  size_t bits_;
};

template <class Matrix>
MatrixList all_of(TensorSet& tensors, const QuantisedConfig& config) {
  MatrixList out;
  for (const std::string& name : tensors.ending_with(".qweight"))
    out.push_back(std::make_unique<Matrix>(tensors, without_suffix(name, ".qweight"), config));
  return out;
}

}  // namespace

MatrixList awq_matrices(TensorSet& tensors, const QuantisedConfig& config) { return all_of<Awq>(tensors, config); }
MatrixList gptq_matrices(TensorSet& tensors, const QuantisedConfig& config) { return all_of<Gptq>(tensors, config); }

}  // namespace hunch
