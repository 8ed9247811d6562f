#include "compress/matrix/input_range.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace hunch {
namespace {

constexpr double kPercentile = 0.9999;
constexpr int kShares = 100;                   // that are tried for the squared error
constexpr size_t kBins = 2048, kLevels = 128;  // of the histogram of magnitudes

float largest(std::span<const float> values) {
  float most = 0;
  for (const float v : values) most = std::max(most, std::abs(v));
  return most;
}

float percentile(std::span<const float> values) {
  std::vector<float> magnitudes(values.begin(), values.end());
  for (float& v : magnitudes) v = std::abs(v);
  const auto rank = ptrdiff_t(std::min(values.size() - 1, size_t(std::ceil(kPercentile * double(values.size()))) - 1));
  std::ranges::nth_element(magnitudes, magnitudes.begin() + rank);
  return magnitudes[size_t(rank)];
}

float least_squares(std::span<const float> values, float most) {
  double least = INFINITY;
  float best = most;
  for (int i = kShares; i > 0; --i) {
    const float limit = most * float(i) / kShares, scale = limit / 127;
    double loss = 0;
    for (const float v : values) {
      const float code = std::clamp(std::nearbyint(v / scale), -127.0f, 127.0f);
      loss += double(v - code * scale) * double(v - code * scale);
    }
    if (loss < least) least = loss, best = limit;
  }
  return best;
}

// sum of P log(P / Q) of the first n bins, what lies beyond them being in the last, against the same in kLevels levels,
// each spread evenly over those of its bins that are not empty.
double divergence(std::span<const double> bins, size_t n, double beyond) {
  std::vector<double> p(bins.begin(), bins.begin() + ptrdiff_t(n)), q(n);
  double n_p = 0, n_q = 0;
  for (size_t level = 0; level < kLevels; ++level) {
    const size_t begin = level * n / kLevels, end = (level + 1) * n / kLevels;
    double sum = 0, n_full = 0;
    for (size_t i = begin; i < end; ++i) sum += bins[i], n_full += bins[i] > 0;
    for (size_t i = begin; i < end; ++i) q[i] = bins[i] > 0 ? sum / n_full : 0;
    n_q += sum;
  }
  p[n - 1] += beyond;
  for (const double v : p) n_p += v;
  double kl = 0;
  for (size_t i = 0; i < n; ++i)
    if (p[i] > 0) {
      if (q[i] == 0) return INFINITY;
      kl += p[i] / n_p * std::log(p[i] / n_p / (q[i] / n_q));
    }
  return kl;
}

float least_divergence(std::span<const float> values, float most) {
  std::vector<double> bins(kBins);
  for (const float v : values) bins[std::min(kBins - 1, size_t(std::abs(v) / most * kBins))] += 1;
  bins[0] = 0;  // so many zeros, as a ReLU leaves, would decide everything
  double least = INFINITY, beyond = 0;
  float best = most;
  for (size_t n = kBins; n >= kLevels; --n) {
    const double kl = divergence(bins, n, beyond);
    if (kl < least) least = kl, best = most * float(n) / kBins;
    beyond += bins[n - 1];
  }
  return best;
}

}  // namespace

const char* name_of(RangeRule rule) {
  switch (rule) {
    case RangeRule::kMax: return "max";
    case RangeRule::kPercentile: return "percentile";
    case RangeRule::kMse: return "mse";
    default: return "kl";
  }
}

float input_range(std::span<const float> values, RangeRule rule) {
  HUNCH_CHECK(!values.empty());
  const float most = largest(values);
  if (most == 0) return 0;
  switch (rule) {
    case RangeRule::kPercentile: return std::max(percentile(values), most / 1000);  // most may be zeros
    case RangeRule::kMse: return least_squares(values, most);
    case RangeRule::kKl: return least_divergence(values, most);
    default: return most;
  }
}

}  // namespace hunch
