// Inputs without those that are not wanted. Internal to linear/.
#pragma once
#include <algorithm>

#include "base/compute.h"
#include "base/rows.h"
#include "base/view.h"

namespace hunch {

// A [n_tokens, n_in] with what is not wanted zeroed, until the end of the caller's scope of the arena.
inline MatView<const float> masked(Compute& compute, MatView<const float> A, RowSet in) {
  if (in.is_all()) return A;
  const MatView<float> kept(compute.arena.take<float>(A.rows * A.cols).data(), A.rows, A.cols);
  compute.threads.parallel_for(A.rows, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      std::ranges::copy(A.row(t), kept.row(t).begin());
      keep_only(in.own[t], kept.row(t), in.unit);
    }
  });
  return kept;
}

}  // namespace hunch
