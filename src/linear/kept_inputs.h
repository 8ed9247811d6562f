// The inputs of a product that reads all of its matrix whatever is left out: zeros where nothing is wanted.
#pragma once
#include "base/rows.h"
#include "linear/linear.h"

namespace hunch {

// A [n_tokens, n_in] with zeros at what `in` leaves out; A itself where that is nothing. Lies in compute's arena: until
// the end of the caller's scope.
MatView<const float> kept_inputs(Compute& compute, MatView<const float> A, RowSet in);

}  // namespace hunch
