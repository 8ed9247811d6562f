#include <cmath>
#include <vector>

#include "kernels/causal_conv.h"

namespace hunch::ref {

void causal_conv(MatView<const float> X, MatView<const float> W, std::span<const float> bias, bool silu,
                 MatView<float> past, MatView<float> Y) {
  for (size_t c = 0; c < X.cols; ++c) {
    std::vector<float> all;
    for (size_t j = 0; j < past.rows; ++j) all.push_back(past.row(j)[c]);
    for (size_t t = 0; t < X.rows; ++t) all.push_back(X.row(t)[c]);
    for (size_t t = 0; t < X.rows; ++t) {
      double sum = bias.empty() ? 0.0 : double(bias[c]);
      for (size_t j = 0; j < W.rows; ++j) sum += double(W.row(j)[c]) * double(all[t + j]);
      Y.row(t)[c] = float(silu ? sum / (1 + std::exp(-sum)) : sum);
    }
    for (size_t j = 0; j < past.rows; ++j) past.row(j)[c] = all[all.size() - past.rows + j];
  }
}

}  // namespace hunch::ref
