// MXFP4 as gpt-oss' checkpoints have it: experts in blocks of 32 codes of E2M1 with a power of two.
#include <cmath>

#include "base/error.h"
#include "io/printable.h"
#include "io/quantised_matrix.h"

namespace hunch {
namespace {

class Mxfp4 : public QuantisedMatrix {
 public:
  // Keeps the name of the blocks, which have their rows along the inputs: the same checkpoint without quantisation
  // has them the other way round, under the name without "_blocks".
  Mxfp4(TensorSet& tensors, const std::string& base)
      : blocks_(tensors.take(base + "_blocks", base)), scales_(tensors.take(base + "_scales", base)) {
    name = blocks_.name;
    expect_type(blocks_, DType::kI8);
    expect_type(scales_, DType::kI8);
    const size_t n = blocks_.shape.size();
    if (n < 3 || blocks_.shape.back() != kBlockBytes || blocks_.n_elems() == 0)
      fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], expected [..., rows, blocks, {}]", printable(name),
           fmt::join(blocks_.shape, ", "), kBlockBytes);
    if (!std::equal(scales_.shape.begin(), scales_.shape.end(), blocks_.shape.begin(), blocks_.shape.end() - 1))
      fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], expected one scale for each block of [{}]",
           printable(scales_.name), fmt::join(scales_.shape, ", "), fmt::join(blocks_.shape, ", "));
    shape.assign(blocks_.shape.begin(), blocks_.shape.end() - 1);
    shape.back() *= 32;
    cols = shape.back();
    rows = blocks_.n_elems() * 2 / cols;
    stored_bytes = blocks_.data.size() + scales_.data.size();
  }

  void values(size_t row, float* out) const override {
    constexpr float kNumbers[16] = {0, .5, 1, 1.5, 2, 3, 4, 6, -0.f, -.5, -1, -1.5, -2, -3, -4, -6};
    for (size_t b = 0; b < cols / 32; ++b) {
      const size_t at = row * (cols / 32) + b;
      const int exponent = int(uint8_t(scales_.data[at])) - 127;
      for (size_t i = 0; i < kBlockBytes; ++i) {
        const uint8_t pair = uint8_t(blocks_.data[at * kBlockBytes + i]);
        out[b * 32 + 2 * i] = std::ldexp(kNumbers[pair & 15], exponent);
        out[b * 32 + 2 * i + 1] = std::ldexp(kNumbers[pair >> 4], exponent);
      }
    }
  }

  std::optional<DType> blocks() const override { return DType::kMXFP4; }

  // The block of GGUF: the scale, then bytes with elements i and i + 16; here a byte has neighbours.
  void write_blocks(size_t row, std::byte* out) const override {
    for (size_t b = 0; b < cols / 32; ++b, out += kBlockBytes + 1) {
      const size_t at = row * (cols / 32) + b;
      out[0] = scales_.data[at];
      const std::byte* pairs = blocks_.data.data() + at * kBlockBytes;
      const auto code = [&](size_t i) { return uint8_t(pairs[i / 2]) >> (i % 2 ? 4 : 0) & 15; };
      for (size_t i = 0; i < kBlockBytes; ++i) out[1 + i] = std::byte(code(i) | code(i + 16) << 4);
    }
  }

 private:
  static constexpr size_t kBlockBytes = 16;

  const Tensor& blocks_;
  const Tensor& scales_;
};

}  // namespace

MatrixList mxfp4_matrices(TensorSet& tensors) {
  MatrixList out;
  for (const std::string& name : tensors.ending_with("_blocks"))
    out.push_back(std::make_unique<Mxfp4>(tensors, without_suffix(name, "_blocks")));
  return out;
}

}  // namespace hunch
