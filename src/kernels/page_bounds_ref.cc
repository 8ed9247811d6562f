#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/page_bounds.h"

namespace hunch::ref {
namespace {

float as_float(float x) { return x; }
float as_float(f16 x) { return to_f32(x); }

template <class T>
void bound_pages(const T* summaries, MatView<const float> Q, MatView<float> bounds) {
  for (size_t r = 0; r < Q.rows; ++r)
    for (size_t p = 0; p < bounds.cols; ++p) {
      const T *const largest = summaries + p * 2 * Q.cols, *const smallest = largest + Q.cols;
      double sum = 0;
      for (size_t i = 0; i < Q.cols; ++i) {
        const double q = Q.row(r)[i];
        sum += std::max(q, 0.0) * as_float(largest[i]) + std::min(q, 0.0) * as_float(smallest[i]);
      }
      bounds.row(r)[p] = std::isnan(sum) ? std::numeric_limits<float>::infinity() : float(sum);
    }
}

}  // namespace

void page_bounds(const float* summaries, MatView<const float> Q, MatView<float> bounds) {
  bound_pages(summaries, Q, bounds);
}
void page_bounds(const f16* summaries, MatView<const float> Q, MatView<float> bounds) {
  bound_pages(summaries, Q, bounds);
}

}  // namespace hunch::ref
