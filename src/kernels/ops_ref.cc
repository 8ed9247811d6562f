#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/ops.h"

namespace hunch::ref {

void layer_norm(std::span<const float> x, std::span<const float> weight, std::span<const float> bias, float eps,
                std::span<float> y) {
  if (x.empty()) return;
  double mean = 0, var = 0;
  for (float v : x) mean += v;
  mean /= double(x.size());
  for (float v : x) var += (v - mean) * (v - mean);
  const double inv = 1.0 / std::sqrt(var / double(x.size()) + double(eps));
  for (size_t i = 0; i < x.size(); ++i) {
    const double normed = (x[i] - mean) * inv;
    y[i] = float(normed * (weight.empty() ? 1.0 : weight[i]) + (bias.empty() ? 0.0 : bias[i]));
  }
}

void rms_norm(std::span<const float> x, std::span<const float> weight, float eps, std::span<float> y) {
  if (x.empty()) return;
  double sum = 0;
  for (float v : x) sum += double(v) * v;
  const double inv = 1.0 / std::sqrt(sum / double(x.size()) + double(eps));
  for (size_t i = 0; i < x.size(); ++i) y[i] = float(x[i] * inv * (weight.empty() ? 1.0 : weight[i]));
}

float activation(Activation activation, float value, float threshold) {
  const double x = value;
  switch (activation) {
    case Activation::kRelu: return value <= threshold ? 0.0f : value;
    case Activation::kReluSquared: return value <= threshold ? 0.0f : value * value;
    case Activation::kSilu: return float(x / (1 + std::exp(-x)));
    case Activation::kGeluErf: return float(0.5 * x * std::erfc(-x / std::sqrt(2.0)));
    case Activation::kGeluTanh: return float(x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))));
    case Activation::kGeluQuick: return float(x / (1 + std::exp(-1.702 * x)));
  }
  HUNCH_CHECK(false, "activation {}", int(activation));
  return 0;
}

float softmax(std::span<float> x) {
  double max = -std::numeric_limits<double>::infinity(), sum = 0;
  for (float v : x) max = std::fmax(max, v);
  for (float v : x) sum += std::exp(v - max);
  for (float& v : x) v = float(std::exp(v - max) / sum);
  return float(max + std::log(sum));
}

void rope(std::span<float> head, std::span<const float> cos, std::span<const float> sin, bool interleaved) {
  const size_t n_pairs = cos.size();
  for (size_t i = 0; i < n_pairs; ++i) {
    float& a = head[interleaved ? 2 * i : i];
    float& b = head[interleaved ? 2 * i + 1 : i + n_pairs];
    const double a0 = a, b0 = b;
    a = float(a0 * cos[i] - b0 * sin[i]);
    b = float(b0 * cos[i] + a0 * sin[i]);
  }
}

}  // namespace hunch::ref
