// Self-Extend: positions that a model was never trained on, replaced by ones that it was.
#pragma once
#include "base/compute.h"
#include "kernels/attention.h"
#include "model/config.h"
#include "model/ops.h"

namespace hunch {

// Attention of the queries of a span in which keys nearer than `extend.window` stand where they are, and those beyond
// at positions divided by extend.group, in one softmax (Jin et al. 2024, "LLM Maybe LongLM: Self-Extend LLM Context
// Window Without Tuning", arXiv:2401.01325, section 3): a query at m sees a key at n as so far away:
//
//   m - n                                                       where m - n < window
//   floor(m / group) - floor(n / group) + window - floor(window / group)    beyond
//
// The cache holds every key turned by floor(n / group), which is how nearly all of them are read: where they lie, by
// queries that are turned by extend.far_position(m). The window's keys are copied, and turned on to n.
//
//   near, far  [n_tokens, n_head * d_head] the same queries turned by m and by far_position(m)
//   turns      the rotation of each position from extend.first_near(span.first_pos) to the span's last one by
//              n - floor(n / group) more
//   out        [n_tokens, n_head * d_head], written
//
// The copy of the window's keys and values is what is counted as read of them: f32. Not of a cache in groups.
void attend_self_extended(Compute& compute, const SelfExtend& extend, const AttentionSpan& span,
                          MatView<const float> near, MatView<const float> far, size_t n_head, const Rotation& turns,
                          bool rope_interleaved, const AttentionParams& params, MatView<float> out);

}  // namespace hunch
