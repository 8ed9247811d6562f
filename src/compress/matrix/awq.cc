#include "compress/matrix/awq.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hunch {
namespace {

constexpr int kSteps = 20;
constexpr float kMostShrunk = 0.5f;
constexpr float kLeastScale = 1e-4f;

// e M e^T for the group's part of M, which begins at `first`.
double squared_error(std::span<const float> e, const Matrix& M, size_t first) {
  double sum = 0;
  for (size_t i = 0; i < e.size(); ++i) {
    if (e[i] == 0) continue;
    double row = 0;
    for (size_t j = 0; j < e.size(); ++j) row += double(M.row(first + i)[first + j]) * e[j];
    sum += row * e[i];
  }
  return sum;
}

float search_clip(std::span<const float> w, const Matrix& M, size_t first, const RoundWeights& round) {
  float most = 0;
  for (float v : w) most = std::max(most, std::abs(v));
  float best = most;
  double least = INFINITY;
  std::vector<float> clipped(w.size());
  for (int i = 0; i < int(kMostShrunk * kSteps); ++i) {
    const float limit = most * float(1 - double(i) / kSteps);
    for (size_t k = 0; k < w.size(); ++k) clipped[k] = std::clamp(w[k], -limit, limit);
    round(clipped);
    for (size_t k = 0; k < w.size(); ++k) clipped[k] -= w[k];
    const double error = squared_error(clipped, M, first);
    if (error < least) least = error, best = limit;
  }
  return best;
}

}  // namespace

void round_min_max(std::span<float> w, int bits, size_t group) {
  HUNCH_CHECK(group > 0 && w.size() % group == 0, "groups of {} of {}", group, w.size());
  const float max_code = float((1 << bits) - 1);
  for (size_t first = 0; first < w.size(); first += group) {
    const std::span<float> g = w.subspan(first, group);
    const auto [low, high] = std::ranges::minmax(g);
    const float scale = std::max(high - low, 1e-5f) / max_code;
    const float zero = std::clamp(-std::nearbyint(low / scale), 0.0f, max_code);
    for (float& v : g) v = (std::clamp(std::nearbyint(v / scale) + zero, 0.0f, max_code) - zero) * scale;
  }
}

std::vector<float> awq_scales(std::span<const float> x_mean, std::span<const float> w_mean, double ratio) {
  HUNCH_CHECK(!x_mean.empty() && (w_mean.empty() || w_mean.size() == x_mean.size()));
  std::vector<float> s(x_mean.size());
  for (size_t c = 0; c < s.size(); ++c) {
    s[c] = std::pow(x_mean[c], float(ratio));
    if (!w_mean.empty()) s[c] /= std::pow(w_mean[c], float(1 - ratio)) + kLeastScale;
    s[c] = std::max(s[c], kLeastScale);
  }
  const auto [low, high] = std::ranges::minmax(s);
  const float mean = std::sqrt(high * low);
  for (float& v : s) v /= mean;
  return s;
}

std::vector<float> relative_weight_means(std::span<const Matrix* const> matrices, size_t group) {
  std::vector<double> sum(matrices[0]->cols);
  size_t n_rows = 0;
  for (const Matrix* W : matrices) {
    n_rows += W->rows;
    for (size_t r = 0; r < W->rows; ++r)
      for (size_t first = 0; first < W->cols; first += group) {
        const auto g = W->row(r).subspan(first, group);
        float most = 0;
        for (float v : g) most = std::max(most, std::abs(v));
        for (size_t i = 0; i < group; ++i) sum[first + i] += std::abs(g[i]) / (most + 1e-6f);
      }
  }
  std::vector<float> mean(sum.size());
  for (size_t c = 0; c < mean.size(); ++c) mean[c] = float(sum[c] / double(n_rows));
  return mean;
}

AwqScales search_awq_scales(std::span<const float> x_mean, std::span<const float> w_mean,
                            const std::function<double(std::span<const float> s)>& loss) {
  AwqScales best;
  for (int i = 0; i < kSteps; ++i) {
    const double ratio = double(i) / kSteps;
    std::vector<float> s = awq_scales(x_mean, w_mean, ratio);
    best.losses.push_back(loss(s));
    if (i == 0 || best.losses.back() < *std::ranges::min_element(best.losses.begin(), best.losses.end() - 1)) {
      best.ratio = ratio;
      best.scales = std::move(s);
    }
  }
  return best;
}

Matrix rounded_as_scaled(Compute& compute, const Matrix& W, std::span<const float> s, const RoundWeights& round) {
  HUNCH_CHECK(s.size() == W.cols);
  Matrix out = W;
  compute.threads.parallel_for(W.rows, 8, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      const std::span<float> row = out.row(r);
      for (size_t c = 0; c < row.size(); ++c) row[c] *= s[c];
      round(row);
      for (size_t c = 0; c < row.size(); ++c) row[c] /= s[c];
    }
  });
  return out;
}

double output_error(Compute& compute, const Matrix& A, const Matrix& B, const Matrix& M) {
  HUNCH_CHECK(A.rows == B.rows && A.cols == B.cols && M.rows == A.cols && M.cols == A.cols);
  Matrix E = A;
  for (size_t i = 0; i < E.values.size(); ++i) E.values[i] -= B.values[i];
  const Matrix EM = multiply_nn(compute, E.view(), M.weights());
  double sum = 0;
  for (size_t i = 0; i < E.values.size(); ++i) sum += double(E.values[i]) * EM.values[i];
  return std::max(sum, 0.0);
}

Matrix search_clips(Compute& compute, const Matrix& W, const Matrix& M, size_t group, const RoundWeights& round) {
  HUNCH_CHECK(group > 0 && W.cols % group == 0 && M.rows == W.cols, "groups of {} of {}", group, W.cols);
  Matrix clips(W.rows, W.cols / group);
  compute.threads.parallel_for(W.rows, 4, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      compute.throw_if_stopped();
      for (size_t g = 0; g < clips.cols; ++g)
        clips.row(r)[g] = search_clip(W.row(r).subspan(g * group, group), M, g * group, round);
    }
  });
  return clips;
}

void apply_clips(const Matrix& clips, Matrix& W) {
  HUNCH_CHECK(clips.rows == W.rows && clips.cols > 0 && W.cols % clips.cols == 0);
  const size_t group = W.cols / clips.cols;
  for (size_t r = 0; r < W.rows; ++r)
    for (size_t c = 0; c < W.cols; ++c) {
      const float limit = clips.row(r)[c / group];
      W.row(r)[c] = std::clamp(W.row(r)[c], -limit, limit);
    }
}

}  // namespace hunch
