// What pages of cached keys are known by, without reading them: each channel's largest and smallest value, and what a
// query's product with any key of the page can be at most (Tang et al. 2024, "Quest", arXiv:2406.10774, section 3.3).
#pragma once
#include <span>

#include "base/half.h"
#include "base/view.h"

namespace hunch {

// The summary of keys K [n, d], n > 0, to [2 * d]: the largest value of every channel, then the smallest. As halves
// these are rounded away from the keys, so that no key lies outside; what is beyond the halves is infinite.
void summarise_keys(MatView<const float> K, float* to);
void summarise_keys(MatView<const float> K, f16* to);

// bounds[r][p] = sum_i max(Q[r][i] * largest[p][i], Q[r][i] * smallest[p][i]): no q.k of page p is larger, but for
// rounding. Not a number becomes infinite: nothing is known of such a page.
//
//   summaries  [bounds.cols, 2 * Q.cols], one after the other, as summarise_keys() made them
//   Q          [n_rows, d], rows may be strided; bounds [n_rows, n_pages]
//   scratch    [page_bounds_scratch(n_rows, d)]
void page_bounds(const float* summaries, MatView<const float> Q, MatView<float> bounds, float* scratch);
void page_bounds(const f16* summaries, MatView<const float> Q, MatView<float> bounds, float* scratch);
size_t page_bounds_scratch(size_t n_rows, size_t d);

namespace ref {  // double precision inside
void page_bounds(const float* summaries, MatView<const float> Q, MatView<float> bounds);
void page_bounds(const f16* summaries, MatView<const float> Q, MatView<float> bounds);
}  // namespace ref
}  // namespace hunch
