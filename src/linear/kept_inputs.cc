#include "linear/kept_inputs.h"

#include <algorithm>

namespace hunch {

MatView<const float> kept_inputs(Compute& compute, MatView<const float> A, RowSet in) {
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
