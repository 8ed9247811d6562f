// Forms of attention against their formulas in float64, key by key.
#include "select/attention_forms.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <set>

#include "kernels/kv_rows.h"
#include "select/attention_patterns.h"
#include "select/cluster_keys.h"
#include "select/feature_keys.h"
#include "select/key_policies.h"
#include "select/lsh_keys.h"
#include "select/pooled_keys.h"
#include "select/test_pages.h"

namespace hunch {
namespace {

constexpr size_t kHeads = 4, kKvHeads = 2, kD = 16;

struct Case {
  explicit Case(size_t n_tokens, DType dtype = DType::kF32)
      : rng(5), cache(n_tokens, kKvHeads, kD, 32, dtype, rng), query{cache.view, 0, 1, n_tokens - 1} {
    std::normal_distribution<float> normal;
    for (float& x : q) x = normal(rng);
    params.scale = 0.25f;
  }
  MatView<const float> Q() const { return {q.data(), 1, q.size()}; }
  std::vector<float> got(SelectorState& state) {
    std::vector<float> out(q.size(), 7.0f);
    const uint64_t before = compute.meter.bytes()[Traffic::kKv];
    static_cast<KeyState&>(state).attend(compute, {0, 1, query.kv}, query, Q(), kHeads, params,
                                         {out.data(), 1, out.size()});
    n_bytes = compute.meter.bytes()[Traffic::kKv] - before;
    return out;
  }
  // Softmax over these slots of each KV head.
  std::vector<float> over(const std::vector<std::vector<uint32_t>>& slots) {
    std::vector<Rows> lists;
    for (const auto& own : slots) lists.push_back(Rows::of(own, query.kv.n_tokens));
    AttentionSpan span = query;
    span.keys = lists;
    std::vector<float> out(q.size());
    ref::attention(Q(), kHeads, {&span, 1}, params, {out.data(), 1, out.size()});
    return out;
  }
  std::span<const float> query_head(size_t h) const { return std::span(q).subspan(h * kD, kD); }

  std::mt19937 rng;
  RandomCache cache;
  AttentionSpan query;
  std::vector<float> q = std::vector<float>(kHeads * kD);
  AttentionParams params;
  Compute compute{2};
  uint64_t n_bytes = 0;
};

void expect_near(std::span<const float> got, std::span<const float> want, double tolerance) {
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance) << i;
}

TEST(AttentionForms, PatternsReadWhatTheySay) {
  for (const char* name : {"longformer:32,global=3", "bigbird:40,block=4,random=2", "strided:20"}) {
    SCOPED_TRACE(name);
    Case c(150);
    const auto keys = key_policy_from(name);
    const auto state = keys->new_state();
    std::vector<std::vector<uint32_t>> slots(kKvHeads);
    for (size_t head = 0; head < kKvHeads; ++head) {
      if (std::string_view(name).starts_with("longformer"))
        LongformerPattern{29, 3}.append({0, head}, 149, slots[head]);
      if (std::string_view(name).starts_with("bigbird"))
        BigBirdPattern{4, 1, 7, 2, 1}.append({0, head}, 149, slots[head]);
      if (std::string_view(name).starts_with("strided")) StridedPattern{20}.append({0, head}, 149, slots[head]);
    }
    expect_near(c.got(*state), c.over(slots), 1e-5);
    EXPECT_EQ(c.n_bytes, 2 * (slots[0].size() + slots[1].size()) * kD * sizeof(float)) << "and nothing else";
    EXPECT_LT(slots[0].size(), 45u);
  }
}

// The bucket of x in a round, from the directions.
size_t bucket_of(std::span<const float> x, std::span<const float> R, size_t round, size_t half) {
  size_t best = 0;
  double most = -1;
  for (size_t i = 0; i < half; ++i) {
    double along = 0;
    for (size_t a = 0; a < x.size(); ++a) along += double(R[(round * half + i) * x.size() + a]) * x[a];
    if (std::abs(along) > most) most = std::abs(along), best = along >= 0 ? i : half + i;
  }
  return best;
}

TEST(AttentionForms, LshReadsTheKeysThatShareMostBuckets) {
  Case c(180);
  const LshOptions options{.budget = 48, .recent = 10, .n_buckets = 8, .n_rounds = 4, .seed = 3};
  const LshKeys keys("lsh", options, {});
  const auto state = keys.new_state();
  const std::vector<float> got = c.got(*state);
  const std::span<const float> R = static_cast<LshState&>(*state).directions(kD);
  std::vector<std::vector<uint32_t>> slots(kKvHeads);
  for (size_t head = 0; head < kKvHeads; ++head) {
    std::vector<size_t> shared(170);
    for (size_t j = 0; j < shared.size(); ++j)
      for (size_t h = 2 * head; h < 2 * head + 2; ++h)
        for (size_t round = 0; round < 4; ++round)
          shared[j] += bucket_of(key_of(c.query.kv, head, j), R, round, 4) == bucket_of(c.query_head(h), R, round, 4);
    std::vector<uint32_t> order(170);
    std::iota(order.rbegin(), order.rend(), 0u);  // of equals the newest
    std::ranges::stable_sort(order, std::greater<>(), [&](uint32_t j) { return shared[j]; });
    for (size_t i = 0; i < 38; ++i)
      if (shared[order[i]]) slots[head].push_back(order[i]);
    for (uint32_t j = 170; j < 180; ++j) slots[head].push_back(j);
    std::ranges::sort(slots[head]);
  }
  expect_near(got, c.over(slots), 1e-5);
  // The next query reads the buckets of the keys, a byte each in words of eight, and what it chose.
  c.got(*state);
  EXPECT_EQ(c.n_bytes, kKvHeads * 170 * 8 + 2 * (slots[0].size() + slots[1].size()) * kD * sizeof(float));
}

// A key in the query's own direction shares all of its buckets; where no longer one outweighs it, it is all that
// counts.
TEST(AttentionForms, LshFindsAKeyThatTheQueryPointsTo) {
  size_t n_tried = 0;
  for (size_t needle = 0; needle < 150; ++needle) {
    Case c(200);
    const std::vector<float> key = key_of(c.query.kv, 0, needle);
    for (size_t a = 0; a < kD; ++a) c.q[a] = c.q[kD + a] = 10 * key[a];
    double largest = -INFINITY, own = 0;
    for (size_t j = 0; j < 200; ++j) {
      const std::vector<float> other = key_of(c.query.kv, 0, j);
      const double score = 2.5 * std::inner_product(key.begin(), key.end(), other.begin(), 0.0);
      j == needle ? own = score : largest = std::max(largest, score);
    }
    if (own < largest + 15) continue;
    ++n_tried;
    const LshKeys keys("lsh", {.budget = 30, .recent = 10, .n_buckets = 16, .n_rounds = 8}, {});
    const auto state = keys.new_state();
    const std::vector<float> got = c.got(*state);
    std::vector<float> value(kD);
    read_kv_rows(c.query.kv, KvPart::kValues, 0, needle, {value.data(), 1, kD});
    for (size_t a = 0; a < kD; ++a) ASSERT_NEAR(got[a], value[a], 1e-3) << needle;
  }
  EXPECT_GT(n_tried, 10u);
}

TEST(AttentionForms, ClustersAreReadInTheirOrder) {
  Case c(300);
  const ClusterKeys keys({.budget = 120, .recent = 10, .n_clusters = 6}, {});
  const auto state = keys.new_state();
  const std::vector<float> got = c.got(*state);
  const size_t n_joined = 256;
  std::vector<std::vector<uint32_t>> slots(kKvHeads);
  for (size_t head = 0; head < kKvHeads; ++head) {
    std::vector<std::vector<double>> sums;
    std::vector<std::vector<uint32_t>> members(6);
    for (size_t j = 0; j < n_joined; ++j) {
      const std::vector<float> key = key_of(c.query.kv, head, j);
      double length = 0;
      for (const float x : key) length += double(x) * x;
      length = std::sqrt(length);
      size_t best = sums.size();
      if (best < 6) {
        sums.emplace_back(kD);
      } else {
        double most = -INFINITY;
        for (size_t i = 0; i < 6; ++i) {
          double along = 0, own = 0;
          for (size_t a = 0; a < kD; ++a) along += sums[i][a] * key[a], own += sums[i][a] * sums[i][a];
          if (along / std::sqrt(own) > most) most = along / std::sqrt(own), best = i;
        }
      }
      for (size_t a = 0; a < kD; ++a) sums[best][a] += key[a] / length;
      members[best].push_back(uint32_t(j));
    }
    std::vector<double> score(6);
    for (size_t i = 0; i < 6; ++i) {
      double own = 0;
      for (size_t a = 0; a < kD; ++a) {
        score[i] += sums[i][a] * (double(c.q[(2 * head) * kD + a]) + c.q[(2 * head + 1) * kD + a]);
        own += sums[i][a] * sums[i][a];
      }
      score[i] /= std::sqrt(own);
    }
    std::vector<size_t> order = {0, 1, 2, 3, 4, 5};
    std::ranges::sort(order, std::greater<>(), [&](size_t i) { return score[i]; });
    size_t n_left = 120 - 10 - (290 - n_joined);
    for (const size_t i : order)
      for (size_t m = members[i].size(); m-- > 0 && n_left > 0; --n_left) slots[head].push_back(members[i][m]);
    for (uint32_t j = n_joined; j < 300; ++j) slots[head].push_back(j);
    std::ranges::sort(slots[head]);
    EXPECT_EQ(slots[head].size(), 120u);
  }
  expect_near(got, c.over(slots), 1e-5);
}

TEST(AttentionForms, LinearIsItsSum) {
  Case c(200);
  const FeatureKeys keys("linear", {.n_features = 0, .recent = 20}, {});
  const auto state = keys.new_state();
  const auto feature = [](double x) { return x > 0 ? x + 1 : std::exp(x); };
  std::vector<float> want;
  for (size_t h = 0; h < kHeads; ++h) {
    std::vector<double> mix(kD);
    double sum = 0;
    for (size_t j = 0; j < 200; ++j) {
      const std::vector<float> key = key_of(c.query.kv, h / 2, j);
      double weight = 0;
      for (size_t a = 0; a < kD; ++a) weight += feature(c.query_head(h)[a]) * feature(key[a]);
      sum += weight;
      std::vector<float> value(kD);
      read_kv_rows(c.query.kv, KvPart::kValues, h / 2, j, {value.data(), 1, kD});
      for (size_t a = 0; a < kD; ++a) mix[a] += weight * value[a];
    }
    for (const double x : mix) want.push_back(float(x / sum));
  }
  expect_near(c.got(*state), want, 1e-5);
  c.got(*state);
  // 128 keys are in the sums, 72 are read.
  EXPECT_EQ(c.n_bytes, kHeads * (kD * kD + kD + 2 * 72 * kD) * sizeof(float));
}

// By the definition, all sums in float64; `n_summed` keys by features, the others exactly.
std::vector<float> performer_of(const Case& c, size_t n_features, size_t n_summed, size_t n, uint64_t seed) {
  const std::vector<float> W = orthogonal_directions(n_features, kD, seed);
  const auto features = [&](std::span<const float> x) {
    std::vector<double> f(n_features);
    double squares = 0;
    for (const float v : x) squares += double(v) * v * 0.25;
    for (size_t i = 0; i < n_features; ++i) {
      double along = 0;
      for (size_t a = 0; a < kD; ++a) along += double(W[i * kD + a]) * x[a] * 0.5;
      f[i] = std::exp(along - squares / 2) / std::sqrt(double(n_features));
    }
    return f;
  };
  std::vector<float> want;
  for (size_t h = 0; h < kHeads; ++h) {
    std::vector<double> mix(kD);
    double sum = 0;
    const std::vector<double> of_query = features(c.query_head(h));
    for (size_t j = 0; j < n; ++j) {
      const std::vector<float> key = key_of(c.query.kv, h / 2, j);
      double weight = 0;
      if (j < n_summed) {
        const std::vector<double> of_key = features(key);
        for (size_t i = 0; i < n_features; ++i) weight += of_query[i] * of_key[i];
      } else {
        for (size_t a = 0; a < kD; ++a) weight += 0.25 * c.query_head(h)[a] * key[a];
        weight = std::exp(weight);
      }
      sum += weight;
      std::vector<float> value(kD);
      read_kv_rows(c.query.kv, KvPart::kValues, h / 2, j, {value.data(), 1, kD});
      for (size_t a = 0; a < kD; ++a) mix[a] += weight * value[a];
    }
    for (const double x : mix) want.push_back(float(x / sum));
  }
  return want;
}

TEST(AttentionForms, PerformerIsItsSum) {
  for (const size_t n_features : {16, 40}) {
    Case c(200);
    const FeatureKeys keys("performer", {.n_features = n_features, .recent = 20, .seed = 4}, {});
    const auto state = keys.new_state();
    expect_near(c.got(*state), performer_of(c, n_features, 128, 200, 4), 2e-5);
  }
}

TEST(AttentionForms, ManyFeaturesAreTheSoftmax) {
  Case c(200);
  c.params.scale = 0.05f;  // the variance grows with the exponential of the lengths
  std::vector<std::vector<uint32_t>> all(kKvHeads, std::vector<uint32_t>(200));
  for (auto& own : all) std::iota(own.begin(), own.end(), 0u);
  const std::vector<float> want = c.over(all);
  const auto off = [&](size_t n_features) {
    const FeatureKeys keys("performer", {.n_features = n_features, .recent = 1}, {});
    const auto state = keys.new_state();
    const std::vector<float> got = c.got(*state);
    double sum = 0;
    for (size_t i = 0; i < got.size(); ++i) sum += std::pow(got[i] - want[i], 2);
    return std::sqrt(sum / double(got.size()));
  };
  const double few = off(32), many = off(8192);
  EXPECT_LT(many, 0.01);
  EXPECT_LT(many, few / 4) << "the error falls with the root of their number, by 16";
}

TEST(AttentionForms, OrthogonalDirectionsAreThat) {
  const std::vector<float> W = orthogonal_directions(40, 16, 1);
  const auto product = [&](size_t i, size_t j) {
    return std::inner_product(&W[i * 16], &W[i * 16] + 16, &W[j * 16], 0.0);
  };
  double squares = 0;
  for (size_t i = 0; i < 40; ++i) {
    squares += product(i, i);
    for (size_t j = i / 16 * 16; j < i; ++j) EXPECT_NEAR(product(i, j), 0, 1e-4);
  }
  EXPECT_NEAR(squares / 40, 16, 3) << "as long as random ones";
}

// Drawn keys stand for all that were not chosen: on average over what may be drawn, sums are those of all keys.
TEST(AttentionForms, WhatHyperDrawsStandsForTheRest) {
  Case c(200);
  c.params.scale = 0.1f;
  std::vector<std::vector<uint32_t>> all(kKvHeads, std::vector<uint32_t>(200));
  for (auto& own : all) std::iota(own.begin(), own.end(), 0u);
  const std::vector<float> want = c.over(all);
  const auto off = [&](size_t n_drawn) {
    std::vector<double> mean(want.size());
    for (uint64_t seed = 1; seed <= 60; ++seed) {
      const LshKeys keys("hyper", {.budget = 20 + n_drawn, .recent = 10, .n_drawn = n_drawn, .seed = seed}, {});
      const auto state = keys.new_state();
      const std::vector<float> got = c.got(*state);
      for (size_t i = 0; i < got.size(); ++i) mean[i] += double(got[i]) / 60;
    }
    double squares = 0;
    for (size_t i = 0; i < mean.size(); ++i) squares += std::pow(mean[i] - want[i], 2);
    return std::sqrt(squares / double(mean.size()));
  };
  EXPECT_LT(off(40), 0.05);
  EXPECT_GT(off(0), 4 * off(40)) << "without them the rest is missing";
  // All others but one are drawn: each stands nearly for itself.
  const LshKeys keys("hyper", {.budget = 199, .recent = 10, .n_drawn = 180}, {});
  const auto state = keys.new_state();
  expect_near(c.got(*state), want, 0.05);
}

// Far keys by the means of c neighbours, by the definition; while there are few, they are themselves.
TEST(AttentionForms, LinformerIsItsMeans) {
  for (const size_t budget : {128, 33, 10}) {
    Case c(210);
    const PooledKeys keys({.budget = budget, .recent = 20}, {});
    const auto state = keys.new_state();
    const size_t n_far = 128;
    size_t together = 1;
    while (together * budget < n_far) together *= 2;
    std::vector<float> want;
    for (size_t h = 0; h < kHeads; ++h) {
      std::vector<double> mix(kD);
      double sum = 0;
      const auto take = [&](size_t first, size_t n) {
        std::vector<double> key(kD), value(kD);
        for (size_t j = first; j < first + n; ++j) {
          const std::vector<float> k = key_of(c.query.kv, h / 2, j);
          std::vector<float> v(kD);
          read_kv_rows(c.query.kv, KvPart::kValues, h / 2, j, {v.data(), 1, kD});
          for (size_t a = 0; a < kD; ++a) key[a] += k[a] / double(n), value[a] += v[a] / double(n);
        }
        double score = 0;
        for (size_t a = 0; a < kD; ++a) score += 0.25 * c.query_head(h)[a] * key[a];
        const double weight = std::exp(score) * double(n);
        sum += weight;
        for (size_t a = 0; a < kD; ++a) mix[a] += weight * value[a];
      };
      for (size_t first = 0; first < n_far; first += together) take(first, std::min(together, n_far - first));
      for (size_t j = n_far; j < 210; ++j) take(j, 1);
      for (const double x : mix) want.push_back(float(x / sum));
    }
    expect_near(c.got(*state), want, 1e-5);
    c.got(*state);
    const size_t n_rows = (n_far + together - 1) / together;
    EXPECT_EQ(c.n_bytes, (kHeads * n_rows + kKvHeads * (210 - n_far)) * 2 * kD * sizeof(float)) << budget;
  }
}

TEST(AttentionForms, WordsThatDoNotFitAreRefused) {
  for (const char* wrong :
       {"longformer:4", "longformer:8,global=0.5", "bigbird:64", "bigbird:96,block=0", "strided:0", "lsh:64",
        "lsh:256,buckets=15", "lsh:256,rounds=0", "hyper:128", "hyper:256,drawn=0", "linformer:1", "clusters:100",
        "linear:64,recent=3", "performer:0", "performer:100000", "lsh:256,prompts=2"})
    EXPECT_THROW(key_policy_from(wrong), Error) << wrong;
  for (const char* right : {"longformer:5", "bigbird:80", "strided:1", "lsh:65,full=2", "clusters:128", "hyper:129",
                            "linformer:2", "linear:1", "performer:64,prompts=0"})
    EXPECT_NO_THROW(key_policy_from(right)) << right;
}

}  // namespace
}  // namespace hunch
