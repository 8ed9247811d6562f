#include "select/attention_forms.h"

#include "select/cluster_keys.h"
#include "select/feature_keys.h"
#include "select/fixed_patterns.h"
#include "select/lsh_keys.h"
#include "select/pooled_keys.h"

namespace hunch {
namespace {

constexpr double kMany = double(1 << 20);

FormOptions form_of(const PolicyOptions& options) {
  expect_count(options, "full", 0, kMany);
  expect_count(options, "prompts", 0, 1);
  return {size_t(options.at("full")), options.at("prompts") == 1};
}

size_t count_of(const PolicyOptions& options, std::string_view name, double least, double most) {
  expect_count(options, name, least, most);
  return size_t(options.at(name));
}

void expect_more(size_t budget, std::string_view name, size_t n) {
  if (budget <= n)
    fail(ErrorKind::kUsage,
         "the key policy (kv_policy) has a budget of {} tokens, expected more than the {} that are always read ({})",
         budget, n, name);
}

}  // namespace

std::shared_ptr<KeySelector> longformer(size_t budget, const PolicyOptions& options) {
  const size_t n_global = count_of(options, "global", 0, kMany);
  expect_more(budget, "global", n_global);
  return std::make_shared<FixedPattern<LongformerPattern>>("longformer", LongformerPattern{budget - n_global, n_global},
                                                           form_of(options));
}

std::shared_ptr<KeySelector> bigbird(size_t budget, const PolicyOptions& options) {
  const size_t block = count_of(options, "block", 1, 4096), n_global = count_of(options, "global", 0, kMany),
               n_random = count_of(options, "random", 0, kMany);
  expect_more(budget, "the global and random blocks", (n_global + n_random + 1) * block - 1);
  const BigBirdPattern pattern{block, n_global, budget / block - n_global - n_random, n_random,
                               count_of(options, "seed", 0, 1e15)};
  return std::make_shared<FixedPattern<BigBirdPattern>>("bigbird", pattern, form_of(options));
}

std::shared_ptr<KeySelector> strided(size_t budget, const PolicyOptions& options) {
  return std::make_shared<FixedPattern<StridedPattern>>("strided", StridedPattern{budget}, form_of(options));
}

namespace {

LshOptions buckets_of(size_t budget, const PolicyOptions& options) {
  LshOptions own;
  own.budget = budget;
  own.recent = count_of(options, "recent", 1, kMany);
  own.n_buckets = count_of(options, "buckets", 2, 254);
  own.n_rounds = count_of(options, "rounds", 1, 256);
  own.seed = count_of(options, "seed", 0, 1e15);
  if (own.n_buckets % 2 != 0)
    fail(ErrorKind::kUsage,
         "the key policy (kv_policy) has {} buckets, expected an even number: directions and their "
         "opposites",
         own.n_buckets);
  return own;
}

}  // namespace

std::shared_ptr<KeySelector> lsh(size_t budget, const PolicyOptions& options) {
  const LshOptions own = buckets_of(budget, options);
  expect_more(budget, "recent", own.recent);
  return std::make_shared<LshKeys>("lsh", own, form_of(options));
}

std::shared_ptr<KeySelector> hyper(size_t budget, const PolicyOptions& options) {
  LshOptions own = buckets_of(budget, options);
  own.n_drawn = count_of(options, "drawn", 1, kMany);
  expect_more(budget, "recent and drawn", own.recent + own.n_drawn);
  return std::make_shared<LshKeys>("hyper", own, form_of(options));
}

std::shared_ptr<KeySelector> clusters(size_t budget, const PolicyOptions& options) {
  ClusterOptions own;
  own.budget = budget;
  own.recent = count_of(options, "recent", 1, kMany);
  own.n_clusters = count_of(options, "k", 1, 65536);
  expect_more(budget, "recent, and the keys of a block that has not joined yet", own.recent + ClusterKeys::kBlock - 1);
  return std::make_shared<ClusterKeys>(own, form_of(options));
}

std::shared_ptr<KeySelector> linear_attention(size_t budget, const PolicyOptions& options) {
  FeatureOptions own;
  own.n_features = 0;
  own.recent = budget;
  return std::make_shared<FeatureKeys>("linear", own, form_of(options));
}

std::shared_ptr<KeySelector> performer(size_t budget, const PolicyOptions& options) {
  FeatureOptions own;
  own.n_features = budget;
  own.recent = count_of(options, "recent", 1, kMany);
  own.seed = count_of(options, "seed", 0, 1e15);
  if (budget > 65536)
    fail(ErrorKind::kUsage, "the key policy (kv_policy) has {} features, expected at most 65536", budget);
  return std::make_shared<FeatureKeys>("performer", own, form_of(options));
}

std::shared_ptr<KeySelector> linformer(size_t budget, const PolicyOptions& options) {
  const PooledOptions own{budget, count_of(options, "recent", 1, kMany)};
  if (budget < 2)
    fail(ErrorKind::kUsage, "the key policy (kv_policy) has {} rows for all keys, expected 2 or more", budget);
  return std::make_shared<PooledKeys>(own, form_of(options));
}

}  // namespace hunch
