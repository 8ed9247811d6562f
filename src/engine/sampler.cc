#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "engine/constraint.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

void in_range(const char* name, double value, double low, double high) {
  if (!(value >= low && value <= high)) fail(ErrorKind::kUsage, "{} is {}, expected {} to {}", name, value, low, high);
}

// A bijection of 64 bits that mixes them well (Steele et al. 2014, "Fast splittable pseudorandom number generators").
uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

constexpr size_t kSortAtLeast = 64;

// The largest logit of an allowed token, whatever else is said of it; -1: there is none.
int32_t best_of(std::span<const float> logits, std::span<const uint64_t> allowed) {
  int32_t best = -1;
  for (size_t word = 0; word < allowed.size(); ++word)
    for (uint64_t bits = allowed[word]; bits; bits &= bits - 1) {
      const size_t id = 64 * word + size_t(std::countr_zero(bits));
      if (id < logits.size() && (best < 0 || logits[id] > logits[size_t(best)])) best = int32_t(id);
    }
  return best;
}

}  // namespace

void validate(const SamplerOptions& o) {
  in_range("temperature", o.temperature, 0, 100);
  in_range("top_k", o.top_k, 0, 1e9);
  in_range("top_p", o.top_p, 0, 1);
  in_range("min_p", o.min_p, 0, 1);
  in_range("typical_p", o.typical_p, 0, 1);
  in_range("repeat_penalty", o.repeat_penalty, 1e-3, 100);
  in_range("frequency_penalty", o.frequency_penalty, -100, 100);
  in_range("presence_penalty", o.presence_penalty, -100, 100);
  in_range("penalty_last_n", o.penalty_last_n, -1, 1e9);
}

Sampler::Sampler(SamplerOptions options) : options_(std::move(options)) { validate(options_); }

// A whole vocabulary is rarely needed in order: the first n candidates at least become the most probable ones, ties by
// the smaller id.
void Sampler::sort_first(size_t n) {
  n = std::min(n, candidates_.size());
  if (n <= n_sorted_) return;
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const auto first = candidates_.begin() + ptrdiff_t(n_sorted_);
  n = std::min(std::max({n, 8 * n_sorted_, kSortAtLeast}), candidates_.size());
  if (n == candidates_.size()) {
    std::sort(first, candidates_.end(), better);
  } else {
    std::partial_sort(first, candidates_.begin() + ptrdiff_t(n), candidates_.end(), better);
  }
  n_sorted_ = n;
}

// Leaves the candidates with their probabilities.
void Sampler::prepare(std::span<const float> logits, std::span<const int32_t> history,
                      std::span<const uint64_t> allowed) {
  const SamplerOptions& o = options_;
  adjusted_.assign(logits.begin(), logits.end());
  for (const auto& [id, bias] : o.logit_bias)
    if (id >= 0 && size_t(id) < adjusted_.size()) adjusted_[size_t(id)] += bias;

  if (o.repeat_penalty != 1.0f || o.frequency_penalty != 0.0f || o.presence_penalty != 0.0f) {
    if (o.penalty_last_n >= 0 && history.size() > size_t(o.penalty_last_n))
      history = history.last(size_t(o.penalty_last_n));
    std::unordered_map<int32_t, int> counts;
    for (int32_t id : history) ++counts[id];
    for (const auto& [id, count] : counts) {
      if (id < 0 || size_t(id) >= adjusted_.size()) continue;
      float& logit = adjusted_[size_t(id)];
      logit = logit > 0 ? logit / o.repeat_penalty : logit * o.repeat_penalty;
      logit -= o.frequency_penalty * float(count) + o.presence_penalty;
    }
  }

  candidates_.clear();
  const float temperature = o.temperature > 0 ? o.temperature : 1.0f;
  for (size_t i = 0; i < adjusted_.size(); ++i)
    if (adjusted_[i] > -INFINITY && is_allowed(allowed, i))
      candidates_.push_back({int32_t(i), adjusted_[i] / temperature, 0});  // false for NaN
  if (candidates_.empty())
    candidates_.push_back({allowed.empty() ? int32_t(argmax(logits)) : best_of(logits, allowed), 0, 0});
  n_sorted_ = 0;
  const auto keep_first = [&](size_t n) {
    candidates_.resize(std::min(n, candidates_.size()));
    n_sorted_ = std::min(n_sorted_, candidates_.size());
  };
  if (const size_t n = o.temperature == 0 ? 1 : size_t(std::max(o.top_k, 0)); n > 0) {
    sort_first(n);
    keep_first(n);
  }

  const auto normalise = [&] {
    double sum = 0;
    for (const Candidate& c : candidates_) sum += c.p;
    for (Candidate& c : candidates_) c.p = float(c.p / sum);
  };
  sort_first(1);
  const float best = candidates_[0].logit;
  for (Candidate& c : candidates_) c.p = c.logit == best ? 1.0f : std::exp(c.logit - best);  // inf - inf is no number
  normalise();

  // Keeps the smallest prefix whose probability reaches p.
  const auto cut_at = [&](float p) {
    double sum = 0;
    size_t n = 0;
    while (n < candidates_.size() && sum < p) {
      sort_first(n + 1);
      sum += candidates_[n++].p;
    }
    keep_first(std::max<size_t>(n, 1));
  };
  if (o.typical_p < 1.0f) {
    double entropy = 0;
    for (const Candidate& c : candidates_)
      if (c.p > 0) entropy -= c.p * std::log(double(c.p));
    const auto distance = [&](const Candidate& c) {
      return c.p > 0 ? std::abs(-std::log(double(c.p)) - entropy) : INFINITY;
    };
    sort_first(candidates_.size());
    std::ranges::stable_sort(candidates_, {}, distance);
    cut_at(o.typical_p);
    n_sorted_ = 0;
    sort_first(1);
    normalise();
  }
  if (o.top_p < 1.0f) {
    cut_at(o.top_p);
    normalise();
  }
  if (o.min_p > 0.0f) {
    const float least = o.min_p * candidates_[0].p;
    std::erase_if(candidates_, [&](const Candidate& c) { return c.p < least; });  // never the best one
    n_sorted_ = std::min(n_sorted_, candidates_.size());
    normalise();
  }
}

size_t n_deciding(const SamplerOptions& o) {
  const bool adjusts =
      !o.logit_bias.empty() || o.repeat_penalty != 1.0f || o.frequency_penalty != 0.0f || o.presence_penalty != 0.0f;
  return adjusts ? 0 : o.temperature == 0 ? 1 : size_t(std::max(o.top_k, 0));
}

bool is_argmax(const SamplerOptions& o) { return n_deciding(o) == 1 && o.temperature == 0; }

// A race of exponential clocks, as fast as the candidates are probable: the first to ring is drawn, which each is with
// its probability (Gumbel's trick without its outer logarithm). A clock belongs to seed, position and id.
int32_t Sampler::draw_candidate(size_t position) const {
  const uint64_t row = mix(mix(options_.seed + 0x9e3779b97f4a7c15) + position);
  int32_t first = candidates_[0].id;
  double least = INFINITY;
  for (const Candidate& c : candidates_) {
    const double u = (double(mix(row ^ uint64_t(uint32_t(c.id)) * 0x9e3779b97f4a7c15) >> 11) + 0.5) * 0x1p-53;
    if (u > least * double(c.p)) continue;  // -log(1 - u) >= u: too late already
    const double time = -std::log1p(-u) / double(c.p);
    if (time < least || (time == least && c.id < first)) least = time, first = c.id;
  }
  return first;
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> history, size_t position,
                        std::span<const uint64_t> allowed) {
  if (is_argmax(options_)) return allowed.empty() ? int32_t(argmax(logits)) : best_of(logits, allowed);
  prepare(logits, history, allowed);
  return draw_candidate(position);
}

std::vector<float> Sampler::distribution(std::span<const float> logits, std::span<const int32_t> history) {
  prepare(logits, history, {});
  std::vector<float> p(logits.size(), 0.0f);
  for (const Candidate& c : candidates_) p[size_t(c.id)] = c.p;
  return p;
}

float log_prob(std::span<const float> logits, int32_t id) { return logits[size_t(id)] - log_sum_exp(logits); }

std::vector<TokenProbability> top_log_probs(std::span<const float> logits, size_t n) {
  std::vector<int32_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = int32_t(i);
  n = std::min(n, order.size());
  std::partial_sort(order.begin(), order.begin() + long(n), order.end(), [&](int32_t a, int32_t b) {
    return logits[size_t(a)] != logits[size_t(b)] ? logits[size_t(a)] > logits[size_t(b)] : a < b;
  });
  const float total = log_sum_exp(logits);
  std::vector<TokenProbability> top;
  for (size_t i = 0; i < n; ++i) top.push_back({order[i], logits[size_t(order[i])] - total});
  return top;
}

}  // namespace hunch
