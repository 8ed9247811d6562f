// How many of a sum's parts are needed: neurons of an MLP, heads of an attention block.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "base/compute.h"
#include "base/view.h"

namespace hunch {

// The linear map whose input is made of parts, without its bias: Y [n, n_out] = A [n, n_in] W^T.
using PartsProduct = std::function<void(MatView<const float> A, MatView<float> Y)>;

struct NeededParts {
  std::vector<uint32_t> order;  // [n, n_parts] parts of each row by falling score
  std::vector<uint32_t> count;  // [n] so many of them are needed
};

// Finds, for every row, how many of its best-scored parts must be kept so that what the others add together has a norm
// of at most `tolerance` times that of the whole output: the cumulative error of tail truncation (CETT) of Zhang et al.
// 2024, "ReLU^2 Wins" (arXiv:2402.03804), section 3. Found by bisection, about log2(n_parts) products of all rows; the
// error falls with the count but for accidents of cancellation. A part with score 0 must add nothing, and is never
// needed; a row whose output is 0 needs none.
//
//   A      [n, n_parts * width]  a part is `width` neighbouring inputs
//   score  [n, n_parts]          >= 0
//   n_out  outputs of `product`
//
// Throws Error{kInterrupted} between products.
NeededParts needed_parts(Compute& compute, MatView<const float> A, size_t width, MatView<const float> score,
                         size_t n_out, const PartsProduct& product, double tolerance);

}  // namespace hunch
