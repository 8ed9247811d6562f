#include "linear/values.h"

#include "base/error.h"
#include "base/memory_info.h"
#include "formats/format.h"
#include "kernels/matmul.h"
#include "linear/corrected.h"
#include "linear/int8.h"
#include "linear/sparse.h"
#include "linear/ternary.h"

namespace hunch {
namespace {

MatView<float> floats_in(AlignedBuffer& buffer, size_t rows, size_t cols) {
  require_memory(rows * cols * sizeof(float), "a matrix decoded to f32");
  buffer = AlignedBuffer(rows * cols * sizeof(float));
  return {reinterpret_cast<float*>(buffer.data()), rows, cols};
}

}  // namespace

void decode_rows(Compute& compute, const WeightView& W, MatView<float> out) {
  compute.threads.parallel_for(W.rows, 16, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) codec(W.dtype).decode(W.row(r), out.row(r).data(), W.cols);
  });
}

Values::Values(Compute& compute, const Linear& matrix) : rows_(matrix.rows()) {
  if (rows_) return;
  const MatView<float> W = floats_in(copy_, matrix.n_out, matrix.n_in);
  rows_ = weight_view(W);
  if (const auto* ternary = dynamic_cast<const Ternary*>(&matrix)) {
    ternary->decode(W);
    return;
  }
  if (const auto* sparse = dynamic_cast<const Sparse*>(&matrix)) {
    sparse->decode(compute, W);
    return;
  }
  if (const auto* int8 = dynamic_cast<const Int8*>(&matrix)) {
    int8->decode(W);
    return;
  }
  if (const auto* corrected = dynamic_cast<const Corrected*>(&matrix)) {
    decode_rows(compute, Values(compute, corrected->base()).rows(), W);
    const Values pair(compute, corrected->pair());
    for (size_t r = 0; r < W.rows; ++r)
      for (size_t c = 0; c < W.cols; ++c) W.row(r)[c] += reinterpret_cast<const float*>(pair.rows().row(r))[c];
    return;
  }
  if (const WeightView by_input = matrix.by_input()) {
    std::vector<float> column(matrix.n_out);
    for (size_t i = 0; i < matrix.n_in; ++i) {
      codec(by_input.dtype).decode(by_input.row(i), column.data(), column.size());
      for (size_t r = 0; r < column.size(); ++r) W.row(r)[i] = column[r];
    }
    return;
  }
  const Linear &U = matrix.factor(Axis::kOut), &V = matrix.factor(Axis::kIn);
  HUNCH_CHECK(&U != &matrix && &V != &matrix, "a form without rows and without factors");
  const Values u(compute, U), v(compute, V);
  AlignedBuffer decoded;
  const MatView<float> left = floats_in(decoded, U.n_out, U.n_in);
  decode_rows(compute, u.rows(), left);
  matmul_transposed(compute, left, v.rows(), {}, W,
                    TokenBits::kAsAlone);  // in f32, whatever many tokens are multiplied in
}

}  // namespace hunch
