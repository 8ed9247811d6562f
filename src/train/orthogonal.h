// What Muon does with momentum (K. Jordan and others 2024, "Muon: an optimizer for hidden layers in neural networks").
#pragma once
#include "base/compute.h"
#include "base/view.h"

namespace hunch {

// X [rows, cols] becomes nearly U V^T of its singular value decomposition U S V^T: five steps of a polynomial of odd
// degree (Newton and Schulz) take singular values from (0, 1] to about 0.7 ... 1.2. X of zeros stays so. The bits do
// not depend on the number of threads.
void orthogonalise(Compute& compute, MatView<float> X);

}  // namespace hunch
