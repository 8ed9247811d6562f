#include "kernels/attention_merge.h"

#include <algorithm>
#include <cmath>

namespace hunch {

void merge_attention(std::span<const float> other, float other_max, float other_sum, std::span<float> out, float& max,
                     float& sum) {
  if (other_sum == 0) return;
  if (sum == 0) {
    std::ranges::copy(other, out.begin());
    max = other_max, sum = other_sum;
    return;
  }
  const float highest = std::max(max, other_max);
  const float a = sum * std::exp(max - highest), b = other_sum * std::exp(other_max - highest);
  for (size_t i = 0; i < out.size(); ++i) out[i] = (a * out[i] + b * other[i]) / (a + b);
  max = highest;
  sum = a + b;
}

}  // namespace hunch
