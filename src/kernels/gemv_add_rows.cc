#include <algorithm>
#include <cstring>

#include "base/checked_math.h"
#include "kernels/gemv.h"

namespace hunch {

void add_rows(Compute& compute, AxpyArgs args, size_t n_positions, MatView<float> Y) {
  if (n_positions == 0 || Y.rows == 0) return;
  constexpr size_t kGrain = 4;  // rows that the kernel adds together
  const size_t n_threads = compute.threads.n_threads();
  if (n_threads == 1 || n_positions <= kGrain) {
    args.y = Y.data;
    args.y_stride = Y.row_stride;
    gemv_axpy(args, 0, n_positions);
    return;
  }
  // Each thread adds to a row of its own, and what of them was needed is added up.
  const Arena::Scope scope(compute.arena);
  const size_t stride = round_up(Y.cols, 16), n = Y.rows * stride;
  struct Sums {
    float* own;
    bool used;
  };
  const std::span<Sums> sums = compute.arena.take<Sums>(n_threads);
  for (Sums& s : sums) s = {compute.arena.take<float>(n).data(), false};
  args.y_stride = stride;
  compute.threads.parallel_for(n_positions, kGrain, [&](size_t begin, size_t end, size_t thread) {
    AxpyArgs own = args;
    own.y = sums[thread].own;
    std::memset(own.y, 0, n * sizeof(float));
    gemv_axpy(own, begin, end);
    sums[thread].used = true;
  });
  const auto add = [&](size_t begin, size_t end) {
    for (size_t t = 0; t < Y.rows; ++t) {
      float* y = Y.data + t * Y.row_stride;
      for (const Sums& s : sums) {
        const float* own = s.own + t * stride;
        if (s.used)
          for (size_t c = begin; c < end; ++c) y[c] += own[c];
      }
    }
  };
  if (n_threads * n < 65536) {  // some 10 us: not worth another loop of the pool
    add(0, Y.cols);
  } else {
    compute.threads.parallel_for(Y.cols, 64, add);
  }
}

}  // namespace hunch
