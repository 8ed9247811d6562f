#include "io/adapter_tensors.h"

#include "base/error.h"
#include "formats/format.h"
#include "io/printable.h"

namespace hunch {
namespace {

std::vector<float> transposed(const std::vector<float>& in, size_t rows, size_t cols) {
  std::vector<float> out(in.size());
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < cols; ++c) out[c * rows + r] = in[r * cols + c];
  return out;
}

void check_is_matrix(const Tensor& tensor) {
  if (tensor.shape.size() != 2)
    fail(ErrorKind::kUnsupported,
         "tensor '{}' has {} dimensions; hunch adapts matrices (no convolutions, no stacked "
         "experts)",
         printable(tensor.name), tensor.shape.size());
  if (tensor.shape[0] == 0 || tensor.shape[1] == 0)
    fail(ErrorKind::kFormat, "tensor '{}' is [{}, {}]: empty", printable(tensor.name), tensor.shape[0],
         tensor.shape[1]);
}

}  // namespace

std::vector<float> floats_of(const Tensor& tensor) {
  const Format& decoder = codec(tensor.dtype);
  HUNCH_CHECK(tensor.data.size() == tensor.rows() * row_bytes(tensor.dtype, tensor.cols()), "{}", tensor.name);
  std::vector<float> out(tensor.rows() * tensor.cols());
  if (!out.empty()) decoder.decode(tensor.data.data(), out.data(), out.size());
  return out;
}

void set_part(const Tensor*& part, const Tensor& tensor) {
  if (part) fail(ErrorKind::kFormat, "the adapter holds '{}' twice", printable(tensor.name));
  part = &tensor;
}

AdapterMatrix build_matrix(const std::string& name, const AdapterParts& parts, bool flipped) {
  if (!parts.A || !parts.B)
    fail(ErrorKind::kFormat, "'{}' has a lora_{} and no lora_{}; is the file complete?", printable(name),
         parts.A ? "A" : "B", parts.A ? "B" : "A");
  check_is_matrix(*parts.A);
  check_is_matrix(*parts.B);
  const size_t rank_of_A = parts.A->shape[flipped], rank_of_B = parts.B->shape[1];
  if (rank_of_A != rank_of_B)
    fail(ErrorKind::kFormat, "'{}': its lora_A is [{}, {}] and its lora_B [{}, {}]; the ranks {} and {} differ",
         printable(name), parts.A->shape[0], parts.A->shape[1], parts.B->shape[0], parts.B->shape[1], rank_of_A,
         rank_of_B);
  AdapterMatrix out;
  out.rank = rank_of_B;
  out.n_in = parts.A->shape[!flipped];
  out.n_out = parts.B->shape[0];
  out.A = floats_of(*parts.A);
  out.B = floats_of(*parts.B);
  if (parts.is_embedding) {
    if (!flipped) out.A = transposed(out.A, out.rank, out.n_in);
    out.B = transposed(out.B, out.n_out, out.rank);
    std::swap(out.A, out.B);
    std::swap(out.n_in, out.n_out);
  }
  return out;
}

}  // namespace hunch
