#include "model/adaptive_softmax.h"

#include <algorithm>
#include <cmath>

namespace hunch {
namespace {

void subtract(float value, std::span<float> x) {
  for (float& v : x) v -= value;
}

}  // namespace

void AdaptiveSoftmax::operator()(Compute& compute, MatView<const float> x, MatView<float> logits) const {
  const Arena::Scope scope(compute.arena);
  const size_t n_clusters = bias.size();
  const MatView<float> logits_of_clusters(compute.arena.take<float>(x.rows * n_clusters).data(), x.rows, n_clusters);
  compute.threads.parallel_for(x.rows, 1, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const std::span<float> clusters = logits_of_clusters.row(t);
      for (size_t i = 0; i < n_clusters; ++i)
        clusters[i] = dot(std::span(weight).subspan(i * x.cols, x.cols), x.row(t)) + bias[i];
      const std::span<float> words = logits.row(t), head = words.first(ends[0]);
      const float of_words = log_sum_exp(head);
      float of_head = of_words;
      for (const float logit : clusters) {  // log(e^a + e^b)
        const float high = std::max(of_head, logit), low = std::min(of_head, logit);
        of_head = high + std::log1p(std::exp(low - high));
      }
      subtract(of_head, head);
      for (size_t i = 0; i < n_clusters; ++i) {
        const std::span<float> cluster = words.subspan(ends[i], ends[i + 1] - ends[i]);
        subtract(log_sum_exp(cluster) - (clusters[i] - of_head), cluster);
      }
    }
  });
  compute.meter.read_weights(weight.size() * sizeof(float));
}

}  // namespace hunch
