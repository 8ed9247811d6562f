#include "select/expected_attention.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/ops.h"

namespace hunch {

QueryGaussian gaussian_of(MatView<const float> queries, bool with_covariance) {
  const size_t d = queries.cols, n = queries.rows;
  HUNCH_CHECK(n > 0, "a Gaussian of no queries");
  QueryGaussian g{std::vector<float>(d), {}};
  for (size_t t = 0; t < n; ++t) axpy(1.0f / float(n), queries.row(t), g.mean);
  if (!with_covariance) return g;
  g.covariance.resize(d * d);
  std::vector<float> centred(d);
  for (size_t t = 0; t < n; ++t) {
    for (size_t i = 0; i < d; ++i) centred[i] = queries.row(t)[i] - g.mean[i];
    for (size_t i = 0; i < d; ++i) axpy(centred[i] / float(n), centred, std::span(g.covariance).subspan(i * d, d));
  }
  return g;
}

void turn(QueryGaussian& g, std::span<const float> cos, std::span<const float> sin, bool interleaved) {
  rope(g.mean, cos, sin, interleaved);
  const size_t d = g.d();
  for (size_t side = 0; side < 2 && !g.covariance.empty(); ++side) {
    for (size_t i = 0; i < d; ++i) rope(std::span(g.covariance).subspan(i * d, d), cos, sin, interleaved);
    for (size_t i = 0; i < d; ++i)
      for (size_t j = 0; j < i; ++j) std::swap(g.covariance[i * d + j], g.covariance[j * d + i]);
  }
}

void turn_back(std::span<float> query, std::span<const float> cos, std::span<const float> sin, bool interleaved) {
  std::vector<float> c(cos.size()), s(cos.size());
  for (size_t i = 0; i < cos.size(); ++i) {
    const float squared = cos[i] * cos[i] + sin[i] * sin[i];
    c[i] = cos[i] / squared, s[i] = -sin[i] / squared;
  }
  rope(query, c, s, interleaved);
}

float expected_score(const QueryGaussian& g, float scale, std::span<const float> key) {
  const float of_mean = scale * dot(g.mean, key);
  if (g.covariance.empty()) return of_mean;
  float squared = 0;
  for (size_t i = 0; i < g.d(); ++i) squared += key[i] * dot(std::span(g.covariance).subspan(i * g.d(), g.d()), key);
  return of_mean + 0.5f * scale * scale * squared;
}

}  // namespace hunch
