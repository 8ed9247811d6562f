// Rows of a matrix by number, as an embedding is read.
#pragma once
#include <cstdint>
#include <span>

#include "base/compute.h"
#include "formats/weight_view.h"

namespace hunch {

// Y[t, :] = W[ids[t], :] as f32.
//
//   ids [n_tokens], each in [0, W.rows)   Y [n_tokens, W.cols], written
void look_up_rows(Compute& compute, const WeightView& W, std::span<const int32_t> ids, MatView<float> Y);

namespace ref {
void look_up_rows(const WeightView& W, std::span<const int32_t> ids, MatView<float> Y);
}  // namespace ref
}  // namespace hunch
