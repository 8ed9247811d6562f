#include "train/gradients.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

constexpr size_t kRowsOfPiece = 4, kColumnsOfPiece = 64;

float sigmoid_of(float x) { return 1.0f / (1.0f + std::exp(-x)); }

float slope(Activation activation, float threshold, float x) {
  switch (activation) {
    case Activation::kRelu: return x > threshold ? 1.0f : 0.0f;
    case Activation::kReluSquared: return x > threshold ? 2 * x : 0.0f;
    case Activation::kSilu: {
      const float s = sigmoid_of(x);
      return s * (1 + x * (1 - s));
    }
    case Activation::kGeluErf: {
      const float density = std::exp(-0.5f * x * x) * float(1 / std::sqrt(2 * std::numbers::pi));
      return 0.5f * (1 + std::erf(x * float(1 / std::numbers::sqrt2))) + x * density;
    }
    case Activation::kGeluTanh: {
      constexpr float kCubic = 0.044715f;
      const float k = float(std::sqrt(2 / std::numbers::pi)), t = std::tanh(k * (x + kCubic * x * x * x));
      return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * k * (1 + 3 * kCubic * x * x);
    }
    case Activation::kGeluQuick: {
      const float s = sigmoid_of(1.702f * x);
      return s + 1.702f * x * s * (1 - s);
    }
  }
  HUNCH_CHECK(false, "an activation without a slope");
}

// Mean (of a LayerNorm, else 0) and 1 / deviation of a row.
struct RowScale {
  float mean, inverse;
};

RowScale scale_of(NormKind kind, float eps, std::span<const float> x) {
  double sum = 0, squares = 0;
  for (const float v : x) sum += v;
  const double mean = kind == NormKind::kLayer ? sum / double(x.size()) : 0;
  for (const float v : x) squares += (v - mean) * (v - mean);
  return {float(mean), float(1 / std::sqrt(squares / double(x.size()) + eps))};
}

// With g = weight * dy and h = (x - mean) * inverse: dx = inverse * (g - mean(g) - h * mean(g * h)), the mean of g only
// where x's was taken off.
void norm_row(NormKind kind, RowScale s, std::span<const float> x, std::span<const float> weight,
              std::span<const float> dy, std::span<float> dx) {
  const size_t n = x.size();
  double sum_g = 0, sum_gh = 0;
  for (size_t i = 0; i < n; ++i) {
    const float g = weight.empty() ? dy[i] : weight[i] * dy[i];
    sum_g += g;
    sum_gh += g * ((x[i] - s.mean) * s.inverse);
  }
  const float mean_g = kind == NormKind::kLayer ? float(sum_g / double(n)) : 0.0f, mean_gh = float(sum_gh / double(n));
  for (size_t i = 0; i < n; ++i) {
    const float g = weight.empty() ? dy[i] : weight[i] * dy[i];
    dx[i] += s.inverse * (g - mean_g - (x[i] - s.mean) * s.inverse * mean_gh);
  }
}

}  // namespace

void activate_gradient(Activation activation, float threshold, std::span<const float> x, std::span<const float> dy,
                       std::span<float> dx) {
  if (activation == Activation::kRelu) {
    for (size_t i = 0; i < x.size(); ++i) dx[i] = x[i] > threshold ? dy[i] : 0.0f;
    return;
  }
  for (size_t i = 0; i < x.size(); ++i) dx[i] = dy[i] * slope(activation, threshold, x[i]);
}

void norm_gradient(Compute& compute, NormKind kind, float eps, MatView<const float> x, std::span<const float> weight,
                   MatView<const float> dy, MatView<float> dx, std::span<float> d_weight, std::span<float> d_bias) {
  const Arena::Scope scope(compute.arena);
  const std::span<RowScale> scales = compute.arena.take<RowScale>(x.rows);
  compute.threads.parallel_for(x.rows, kRowsOfPiece, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      scales[t] = scale_of(kind, eps, x.row(t));
      norm_row(kind, scales[t], x.row(t), weight, dy.row(t), dx.row(t));
    }
  });
  if (!d_bias.empty()) add_column_sums(compute, dy, d_bias);
  if (d_weight.empty()) return;
  compute.threads.parallel_for(x.cols, kColumnsOfPiece, [&](size_t begin, size_t end) {
    for (size_t t = 0; t < x.rows; ++t) {
      const std::span<const float> xs = x.row(t), dys = dy.row(t);
      for (size_t i = begin; i < end; ++i) d_weight[i] += dys[i] * (xs[i] - scales[t].mean) * scales[t].inverse;
    }
  });
}

void rotate_heads(Compute& compute, const LayerConfig& c, const Rotation& rotation, float direction, MatView<float> x) {
  if (!rotation.cos.data) return;
  const size_t n_pairs = rotation.cos.cols;
  compute.threads.parallel_for(x.rows, kRowsOfPiece, [&](size_t begin, size_t end) {
    std::vector<float> sin(n_pairs);
    for (size_t t = begin; t < end; ++t) {
      std::ranges::transform(rotation.sin.row(t), sin.begin(), [&](float s) { return direction * s; });
      for (size_t h = 0; h < x.cols / c.d_head; ++h)
        rope(x.row(t).subspan(h * c.d_head, c.d_head), rotation.cos.row(t), sin, c.rope_interleaved);
    }
  });
}

void soft_cap_gradient(float cap, std::span<const float> y, std::span<float> d) {
  for (size_t i = 0; i < d.size(); ++i) d[i] *= 1 - (y[i] / cap) * (y[i] / cap);
}

float rounding_gradient(std::span<const float> w, std::span<const float> rounded, RoundingBounds bounds, float scale,
                        std::span<float> d) {
  double sum = 0;
  for (size_t i = 0; i < d.size(); ++i) {
    const bool inside = w[i] >= bounds.low && w[i] <= bounds.high;
    sum += double(d[i]) * (rounded[i] - (inside ? w[i] : 0.0f));
    if (!inside) d[i] = 0;
  }
  return float(sum / double(scale));
}

void add_column_sums(Compute& compute, MatView<const float> x, std::span<float> sum) {
  compute.threads.parallel_for(x.cols, kColumnsOfPiece, [&](size_t begin, size_t end) {
    for (size_t t = 0; t < x.rows; ++t) add(x.row(t).subspan(begin, end - begin), sum.subspan(begin, end - begin));
  });
}

void transpose(Compute& compute, MatView<const float> from, MatView<float> to) {
  constexpr size_t kSide = 16;  // of squares whose lines stay in the first cache
  compute.threads.parallel_for(from.cols, kSide, [&](size_t begin, size_t end) {
    for (size_t r = 0; r < from.rows; r += kSide) {
      const size_t r_end = std::min(from.rows, r + kSide);
      for (size_t c = begin; c < end; ++c)
        for (size_t i = r; i < r_end; ++i) to.data[c * to.row_stride + i] = from.data[i * from.row_stride + c];
    }
  });
}

}  // namespace hunch
