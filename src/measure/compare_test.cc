#include "measure/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/ops.h"
#include "linear/stored.h"
#include "linear/values.h"
#include "measure/bench.h"
#include "model/test_steps.h"
#include "select/selectors.h"

namespace hunch {
namespace {

std::vector<int32_t> some_ids(size_t n) {
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = int32_t(4 + (i * 37 + i * i * 11) % 300);
  return ids;
}

class Measured : public ::testing::Test {
 protected:
  Engine engine_ = load_engine(golden_fixture("opt_sparse"), {2});
  ContextOptions with(std::shared_ptr<const Plan> plan) {
    ContextOptions context;
    if (!plan) context.mode = "dense";
    context.plan = std::move(plan);
    return context;
  }
  std::shared_ptr<const Plan> exact_ = std::make_shared<const Plan>(Plan::exact(engine_.config()));
};

TEST(KlDivergence, IsThatOfPlainLoops) {
  const std::vector<float> a = {1, -2, 0.5f, 3}, b = {0, 0, 1, 2.5f};
  const auto p = [](const std::vector<float>& x, size_t i) {
    double sum = 0;
    for (const float v : x) sum += std::exp(double(v));
    return std::exp(double(x[i])) / sum;
  };
  double want = 0;
  for (size_t i = 0; i < a.size(); ++i) want += p(a, i) * std::log(p(a, i) / p(b, i));
  EXPECT_NEAR(kl_divergence(a, b), want, 1e-6);
  EXPECT_NEAR(kl_divergence(a, a), 0, 1e-9);
  EXPECT_GE(kl_divergence(a, a), 0);
}

// Windows of 16 tokens every 8: each token but the first once, with what a step over its window says.
TEST_F(Measured, PerplexityIsTheSumOverTheWindows) {
  const std::vector<int32_t> ids = some_ids(37);
  WindowOptions options;
  options.n_ctx = 16;
  options.stride = 8;
  const Perplexity got = perplexity(engine_, with(nullptr), ids, options);
  KvCache cache(Transformer::kv_shape(engine_.config(), DType::kF32, 8), 64);
  Transformer transformer(*engine_.model, cache, *engine_.compute);
  double nll = 0;
  size_t n_scored = 0;
  for (size_t begin = 0; n_scored + 1 < ids.size(); begin += 8) {
    const std::vector<int32_t> window(ids.begin() + long(begin), ids.begin() + long(std::min(begin + 16, ids.size())));
    const hunch::Run run{cache.create(), window.size()};
    const std::vector<uint32_t> rows = rows_up_to(window.size());
    const MatView<const float> logits = transformer.run({window, {&run, 1}, rows});
    for (size_t t = n_scored + 1 - begin; t < window.size(); ++t, ++n_scored)
      nll += double(log_sum_exp(logits.row(t - 1)) - logits.row(t - 1)[size_t(window[t])]);
    cache.release(run.sequence);
  }
  EXPECT_EQ(got.n_tokens, 36u);
  EXPECT_NEAR(got.nll, nll, 1e-3);
  EXPECT_NEAR(got.perplexity, std::exp(nll / 36), 1e-3 * got.perplexity);
}

TEST_F(Measured, WhatEqualsTheReferenceCostsNothingAndWhatSkipsZerosReadsLess) {
  const std::vector<int32_t> ids = some_ids(96);
  Plan half = *exact_;
  std::vector<Rows> lists;
  std::vector<uint32_t> evens;
  const size_t n_ff = engine_.config().n_ff;
  for (uint32_t i = 0; i < n_ff; i += 2) evens.push_back(i);
  lists.assign(64, Rows::of(evens, n_ff));
  for (size_t l = 0; l < engine_.config().n_layer; ++l)
    half.set(l, Point::kNeurons, {std::make_shared<const Given>(lists)});
  const CompareMode modes[] = {{"dense", with(nullptr), false, {}},
                               {"again", with(nullptr), false, {}},
                               {"exact", with(exact_), false, {}},
                               {"half", with(std::make_shared<const Plan>(half)), false, {}}};
  CompareOptions options;
  options.windows.n_ctx = 32;
  options.n_decode = 16;
  options.n_repeats = 1;
  const std::vector<CompareRow> rows = compare_modes(engine_, modes, ids, options);
  ASSERT_EQ(rows.size(), 4u);
  const CompareRow &dense = rows[0], &again = rows[1], &exact = rows[2], &lossy = rows[3];
  EXPECT_EQ(dense.kl, 0);
  EXPECT_EQ(again.kl, 0);
  EXPECT_EQ(again.top1, 1);
  EXPECT_EQ(again.perplexity, dense.perplexity);
  EXPECT_EQ(again.bytes_per_token, dense.bytes_per_token);
  EXPECT_LT(exact.kl, 1e-6);
  EXPECT_NEAR(exact.perplexity, dense.perplexity, 1e-4 * dense.perplexity);
  EXPECT_LT(exact.bytes_per_token, dense.bytes_per_token);
  EXPECT_LT(exact.density_mlp, 1);
  EXPECT_GT(lossy.kl, 1e-4);
  EXPECT_LT(lossy.top1, 1);
  EXPECT_NE(lossy.nll_delta, 0);
  EXPECT_GT(lossy.nll_delta_stderr, 0);
  EXPECT_LE(lossy.density_mlp, 0.51);
  for (const CompareRow& row : rows) EXPECT_GT(row.tokens_per_s, 0);
}

TEST(BenchRow, SummarisesItsRepeats) {
  const BenchRow even = bench_row("tg4", {10, 30, 20, 40}, 8e9, 2, 16);
  EXPECT_EQ(even.tokens_per_s, 25);
  EXPECT_EQ(even.tokens_per_s_median, 25);
  EXPECT_NEAR(even.tokens_per_s_stddev, std::sqrt(500.0 / 3), 1e-9);
  EXPECT_EQ(even.gb_per_s, 4);
  EXPECT_EQ(even.bytes_per_token, 5e8);
  BenchRow twice = bench_row("tg4", {100, 50, 30}, 4e9, 1, 16);
  EXPECT_EQ(twice.tokens_per_s_median, 50);
  compare_with(even, twice);
  EXPECT_EQ(twice.speed_up, 2);
  EXPECT_EQ(twice.efficiency, 1) << "half the bytes, half the time";
}

TEST_F(Measured, ABenchHasARowForEachLengthAndMode) {
  BenchOptions options;
  options.prompt = {8};
  options.generate = {4};
  options.n_repeats = 1;
  options.modes = {{"dense", with(nullptr), false, {}}, {"exact", with(exact_), false, {}}};
  const std::vector<BenchRow> rows = bench(engine_, {}, options);
  std::vector<std::string> names;
  for (const BenchRow& row : rows) names.push_back(row.name);
  EXPECT_EQ(names, (std::vector<std::string>{"pp8 dense", "pp8 exact", "tg4 dense", "tg4 exact"}));
  EXPECT_LT(rows[3].bytes_per_token, rows[2].bytes_per_token);
  EXPECT_EQ(rows[2].speed_up, 1);
}

TEST_F(Measured, AModelThatIsDamagedIsNamedAndNotCompared) {
  const Engine damaged = load_engine(golden_fixture("opt_sparse"), {2});
  const Linear& v = *damaged.model->weights().layers[1].attention.v;
  std::vector<float> values(v.n_out * v.n_in);
  decode_rows(*damaged.compute, v.rows(), {values.data(), v.n_out, v.n_in});
  values[7] = NAN;
  damaged.model->weights().layers[1].attention.v =
      std::make_unique<Stored>(v.id, weight_view(MatView<const float>(values.data(), v.n_out, v.n_in)), WeightView(),
                               std::vector<float>(v.bias().begin(), v.bias().end()), damaged.model->layouts());
  std::vector<CompareMode> modes = {{"own", with(nullptr)}, {"other", with(nullptr)}};
  modes[1].engine = &damaged;
  try {
    compare_modes(engine_, modes, some_ids(40), {{.n_ctx = 20}, 0});
    ADD_FAILURE() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kFormat);
    EXPECT_NE(std::string(e.what()).find("'other'"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("layer 1"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace hunch
