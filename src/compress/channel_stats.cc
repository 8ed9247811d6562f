#include "compress/channel_stats.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {

void ChannelStats::add(MatView<const float> X) {
  if (sum_.empty()) sum_.resize(X.cols), squares_.resize(X.cols);
  HUNCH_CHECK(sum_.size() == X.cols, "{} channels after {}", X.cols, sum_.size());
  for (size_t t = 0; t < X.rows; ++t)
    for (size_t c = 0; c < X.cols; ++c) {
      const double x = X.row(t)[c];
      sum_[c] += x;
      squares_[c] += x * x;
    }
  n_tokens_ += X.rows;
}

double ChannelStats::variance(size_t channel) const {
  if (n_tokens_ < 2) return 0;
  const double n = double(n_tokens_);
  return std::max(0.0, (squares_[channel] - sum_[channel] * sum_[channel] / n) / (n - 1));
}

}  // namespace hunch
