#include "linear/values.h"

#include "base/memory_info.h"
#include "formats/format.h"

namespace hunch {
void decode_rows(Compute& compute, const WeightView& W, MatView<float> out) {
  compute.threads.parallel_for(W.rows, 16, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) codec(W.dtype).decode(W.row(r), out.row(r).data(), W.cols);
  });
}

Values::Values(Compute& compute, const Linear& matrix) : rows_(matrix.rows()) {
  if (rows_) return;
  require_memory(matrix.n_out * matrix.n_in * sizeof(float), "a matrix decoded to f32");
  copy_ = AlignedBuffer(matrix.n_out * matrix.n_in * sizeof(float));
  const MatView<float> W(reinterpret_cast<float*>(copy_.data()), matrix.n_out, matrix.n_in);
  matrix.decode(compute, W);
  rows_ = weight_view(W);
}

}  // namespace hunch
