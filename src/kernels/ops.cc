#include "kernels/ops.h"

#include <cmath>
#include <limits>

namespace hunch {

void layer_norm(std::span<const float> x, std::span<const float> weight, std::span<const float> bias, float eps,
                std::span<float> y) {
  ref::layer_norm(x, weight, bias, eps, y);
}
void rms_norm(std::span<const float> x, std::span<const float> weight, float eps, std::span<float> y) {
  ref::rms_norm(x, weight, eps, y);
}
void activate(Activation activation, std::span<float> x) {
  for (float& v : x) v = ref::activation(activation, v);
}
void activate_gated(Activation activation, std::span<const float> gate, std::span<float> x) {
  for (size_t i = 0; i < x.size(); ++i) x[i] *= ref::activation(activation, gate[i]);
}
void add(std::span<const float> x, std::span<float> y) {
  for (size_t i = 0; i < x.size(); ++i) y[i] += x[i];
}
void scale(float s, std::span<float> x) {
  for (float& v : x) v *= s;
}
void soft_cap(float cap, std::span<float> x) {
  for (float& v : x) v = cap * std::tanh(v / cap);
}
float softmax(std::span<float> x) { return ref::softmax(x); }
float log_sum_exp(std::span<const float> x) {
  float max = -std::numeric_limits<float>::infinity();
  for (float v : x) max = std::fmax(max, v);
  double sum = 0;
  for (float v : x) sum += std::exp(double(v) - max);
  return float(max + std::log(sum));
}
size_t argmax(std::span<const float> x) {
  size_t best = 0;
  float value = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i] > value) value = x[i], best = i;
  return best;
}
void rope(std::span<float> head, std::span<const float> cos, std::span<const float> sin, bool interleaved) {
  ref::rope(head, cos, sin, interleaved);
}
void to_f16(std::span<const float> x, std::span<f16> y) {
  for (size_t i = 0; i < x.size(); ++i) y[i] = to_f16(x[i]);
}
void axpy(float a, std::span<const float> x, std::span<float> y) {
  for (size_t i = 0; i < x.size(); ++i) y[i] += a * x[i];
}
float dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * b[i];
  return float(sum);
}

}  // namespace hunch
