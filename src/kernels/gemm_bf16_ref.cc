// Products of values rounded to bf16, in double precision.
#include "base/half.h"
#include "kernels/gemm_bf16.h"

namespace hunch::ref {

void multiply_bf16(const Bf16Product& p) {
  const auto rounded = [](MatView<const float> m, bool turned, size_t r, size_t c) {
    return double(to_f32(to_bf16(turned ? m.row(c)[r] : m.row(r)[c])));
  };
  for (size_t t = 0; t < p.Y.rows; ++t)
    for (size_t c = 0; c < p.Y.cols; ++c) {
      double sum = p.adds ? double(p.Y.row(t)[c]) : 0.0;
      for (size_t k = 0; k < p.depth(); ++k) sum += rounded(p.A, p.A_turned, t, k) * rounded(p.B, p.B_turned, k, c);
      p.Y.row(t)[c] = float(sum);
    }
}

}  // namespace hunch::ref
