// Products of f32 matrices whose values are rounded to bf16 on their way into the cache, with sums in f32 (vdpbf16ps of
// AVX-512): mixed precision for training (Kalamkar et al. 2019, "A Study of BFLOAT16", arXiv:1905.12322), at twice the
// rate of f32's.
#pragma once
#include "base/compute.h"
#include "base/view.h"

namespace hunch {

// Whether this machine has such products and the SIMD target in use takes them.
bool multiplies_bf16();

// Y = A B, or added to. Each of A and B may be given as it is or as its transpose.
//
//   A [n, k], or (A_turned) [k, n]   B [k, m], or (B_turned) [m, k]   Y [n, m], overlaps neither; rows may be strided
//
// Values are rounded to nearest even; subnormal ones may count as 0. The order of a sum depends on k alone, not on the
// number of threads. Only where multiplies_bf16().
struct Bf16Product {
  MatView<const float> A, B;
  bool A_turned = false, B_turned = false;
  bool adds = false;
  MatView<float> Y;

  size_t depth() const { return A_turned ? A.rows : A.cols; }
};
void multiply_bf16(Compute& compute, const Bf16Product& product);

namespace ref {  // The same in double precision on rounded values.
void multiply_bf16(const Bf16Product& product);
}
}  // namespace hunch
