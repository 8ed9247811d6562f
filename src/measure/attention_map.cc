#include "measure/attention_map.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

// The first query that counts, and the last key that enough queries see.
size_t first_query(size_t n) { return std::max<size_t>(1, n / 4); }
size_t n_judged_keys(size_t n) { return n - n / 4; }

// Mean weight that `key` gets from the queries after it (of those that count), and what uniform weights would give.
struct Received {
  double weight = 0, uniform = 0;
};
Received received(const std::vector<float>& P, size_t n, size_t key) {
  Received sum;
  const size_t begin = std::max(key + 1, first_query(n));
  for (size_t i = begin; i < n; ++i) {
    sum.weight += double(P[i * n + key]);
    sum.uniform += 1.0 / double(i + 1);
  }
  if (begin < n) sum.weight /= double(n - begin), sum.uniform /= double(n - begin);
  return sum;
}

}  // namespace

std::vector<float> attention_weights(const LayerConfig& config, size_t head, MatView<const float> q,
                                     MatView<const float> k) {
  HUNCH_CHECK(q.rows == k.rows && head < config.n_head, "{} queries, {} keys, head {}", q.rows, k.rows, head);
  const size_t n = q.rows, d = config.d_head, kv_head = head / config.n_group(), window = config.window;
  const double slope = config.alibi_slopes.empty() ? 0 : double(config.alibi_slopes[head]);
  std::vector<float> P(n * n, 0.0f);
  for (size_t i = 0; i < n; ++i) {
    const size_t begin = window && i + 1 > window ? i + 1 - window : 0;
    const std::span<float> row = std::span(P).subspan(i * n + begin, i + 1 - begin);
    for (size_t j = begin; j <= i; ++j) {
      float s = config.attn_scale * dot(q.row(i).subspan(head * d, d), k.row(j).subspan(kv_head * d, d));
      if (config.attn_soft_cap > 0) s = config.attn_soft_cap * std::tanh(s / config.attn_soft_cap);
      row[j - begin] = s + float(slope * (double(j) - double(i)));
    }
    softmax(row);
  }
  return P;
}

HeadHabit head_habit(const std::vector<float>& P, size_t n) {
  HeadHabit habit;
  if (n < 2) return habit;
  const size_t begin = first_query(n);
  for (size_t i = begin; i < n; ++i) {
    double entropy = 0;
    size_t first_seen = i;  // a sliding window hides what lies before
    for (size_t j = i + 1; j-- > 0;) {
      const double p = double(P[i * n + j]);
      if (p > 0) entropy -= p * std::log(p), first_seen = j;
    }
    const size_t n_seen = i - first_seen + 1;
    habit.entropy += n_seen > 1 ? entropy / std::log(double(n_seen)) : 0.0;
    habit.to_first += double(P[i * n]);
    habit.to_previous += double(P[i * n + i - 1]);
  }
  for (double* mean : {&habit.entropy, &habit.to_first, &habit.to_previous}) *mean /= double(n - begin);
  for (size_t key = 1; key < n_judged_keys(n); ++key)
    if (const double weight = received(P, n, key).weight; weight > habit.heaviest) {
      habit.heaviest = weight;
      habit.heaviest_key = uint32_t(key);
    }
  return habit;
}

HeadKind kind_of(const HeadHabit& habit) {
  if (habit.entropy >= 0.9) return HeadKind::kUniform;
  if (habit.to_first >= 0.5) return HeadKind::kSink;
  if (habit.to_previous >= 0.5) return HeadKind::kPrevious;
  if (habit.heaviest >= 0.25) return HeadKind::kHeavyHitter;
  return HeadKind::kMixed;
}

const char* name_of(HeadKind kind) {
  switch (kind) {
    case HeadKind::kUniform: return "uniform";
    case HeadKind::kHeavyHitter: return "heavy hitter";
    case HeadKind::kSink: return "sink";
    case HeadKind::kPrevious: return "previous token";
    case HeadKind::kMixed: return "mixed";
  }
  return "?";
}

std::vector<uint32_t> heavy_hitters(const std::vector<float>& P, size_t n, size_t n_most) {
  std::vector<std::pair<double, uint32_t>> found;
  for (size_t key = 0; key < n_judged_keys(n); ++key) {
    const Received r = received(P, n, key);
    if (r.weight >= 0.1 && r.weight >= 3 * r.uniform) found.emplace_back(r.weight, uint32_t(key));
  }
  std::ranges::sort(found, std::greater<>());
  std::vector<uint32_t> keys;
  for (size_t i = 0; i < std::min(n_most, found.size()); ++i) keys.push_back(found[i].second);
  return keys;
}

}  // namespace hunch
