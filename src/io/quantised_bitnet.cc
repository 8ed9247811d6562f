// BitNet b1.58: weights of -1, 0 and 1, four to a byte, and one scale for each matrix.
#include "base/error.h"
#include "io/printable.h"
#include "io/quantised_matrix.h"

namespace hunch {
namespace {

// Byte [p, i] of [rows / 4, cols] holds weight [p + k rows / 4, i], plus 1, in bits 2 k and 2 k + 1 (unpack_weights()
// of Hugging Face's integrations/bitnet.py).
class BitNet : public QuantisedMatrix {
 public:
  explicit BitNet(const Tensor& packed) : packed_(packed) {
    name = packed.name;
    expect_type(packed, DType::kI8);
    if (packed.shape.size() != 2 || packed.n_elems() == 0)
      fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], expected a matrix of four weights a byte", printable(name),
           fmt::join(packed.shape, ", "));
    rows = 4 * packed.shape[0];
    cols = packed.shape[1];
    shape = {rows, cols};
    stored_bytes = packed.data.size();
    for (const std::byte b : packed.data)
      if ((b & b >> 1 & std::byte{0x55}) != std::byte{0})
        fail(ErrorKind::kFormat, "tensor '{}' has a byte of {}, which is not four weights of -1, 0 or 1",
             printable(name), int(b));
  }

  void values(size_t row, float* out) const override {
    for (size_t i = 0; i < cols; ++i) out[i] = float(code(row, i)) - 1;
  }

  std::optional<DType> blocks() const override { return DType::kQ2_0; }

  // A scale of 1 in f16, then weights plus 1, four to a byte, in order.
  void write_blocks(size_t row, std::byte* out) const override {
    for (size_t b = 0; b < cols; b += 64, out += 18) {
      out[0] = std::byte{0};
      out[1] = std::byte{0x3c};
      for (size_t i = 0; i < 16; ++i) {
        int byte = 0;
        for (size_t k = 0; k < 4; ++k) byte |= code(row, b + 4 * i + k) << 2 * k;
        out[2 + i] = std::byte(byte);
      }
    }
  }

 private:
  int code(size_t row, size_t i) const {
    const size_t n_packed = rows / 4;
    return int(packed_.data[row % n_packed * cols + i]) >> 2 * (row / n_packed) & 3;
  }

  const Tensor& packed_;
};

}  // namespace

MatrixList bitnet_matrices(TensorSet& tensors) {
  MatrixList out;
  for (const std::string& scale : tensors.ending_with(".weight_scale")) {
    const std::string name = without_suffix(scale, "_scale");
    out.push_back(std::make_unique<BitNet>(tensors.take(name, scale)));
  }
  return out;
}

}  // namespace hunch
