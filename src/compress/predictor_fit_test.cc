// Fitting, training and measuring predictors on activations whose law is known.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "compress/low_rank_fit.h"
#include "compress/predictor_candidate.h"
#include "compress/predictor_trainer.h"
#include "compress/sign_fit.h"
#include "linear/layouts.h"
#include "select/threshold.h"

namespace hunch {
namespace {

constexpr size_t kEmbd = 64, kFf = 96, kTokens = 3000, kTrue = 6;

// An MLP whose W_up has rank kTrue, on correlated inputs with a mean. With `ahead`, the predictor sees the inputs
// through a noisy mixing, as from before attention.
struct KnownLayer {
  explicit KnownLayer(bool ahead = false, uint32_t seed = 1) : W(kFf, kEmbd) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal;
    Matrix a(kFf, kTrue), b(kTrue, kEmbd), mix(kEmbd, kEmbd), unmix(kEmbd, kEmbd);
    for (Matrix* m : {&a, &b, &mix, &unmix})
      for (float& v : m->values) v = normal(rng);
    Compute compute(1);
    W = multiply_nn(compute, a.view(), b.weights());
    scale(0.1f, W.values);
    std::vector<float> bias;
    for (size_t k = 0; k < kFf; ++k) bias.push_back(normal(rng) - 1);
    owned = std::make_unique<Stored>(LinearId{0, Role::kUp}, W.weights(), WeightView(), bias, layouts);
    norms.assign(kFf, 1.0f);
    for (size_t k = 0; k < kFf; k += 3) norms[k] = 2;
    trace.n_embd = kEmbd, trace.n_ff = kFf, trace.n_tokens = kTokens;
    Matrix X(kTokens, kEmbd);
    for (float& v : X.values) v = normal(rng);
    X = multiply_nn(compute, X.view(), mix.weights());
    scale(0.125f, X.values);
    for (size_t t = 0; t < kTokens; ++t) X.row(t)[5] += 3;
    Matrix seen = ahead ? multiply_nn(compute, X.view(), unmix.weights()) : X;
    if (ahead)
      for (float& v : seen.values) v += 0.05f * normal(rng);
    for (float v : seen.values) trace.input.push_back(to_f16(v));
    if (ahead)
      for (float v : X.values) trace.mlp_input.push_back(to_f16(v));
    const Matrix Z = multiply_nt(compute, X.view(), W.weights());
    for (size_t t = 0; t < kTokens; ++t)
      for (size_t k = 0; k < kFf; ++k) {
        const float c = std::max(Z.row(t)[k] + bias[k], 0.0f) * norms[k];
        trace.code.push_back(c > 0 ? uint8_t(std::clamp(std::lround(std::log2(c) * 8) + 128L, 1L, 255L)) : 0);
      }
  }
  static void scale(float s, std::vector<float>& v) {
    for (float& x : v) x *= s;
  }

  const Linear& first() const { return *owned; }

  Matrix W;
  Layouts layouts;
  std::unique_ptr<Stored> owned;
  std::vector<float> norms;
  MlpTrace trace;
};

// Share of the (token, neuron) pairs on whose activity the sign of the score is right, and recall.
std::pair<double, double> accuracy(Compute& compute, const Predictor& predictor, const MlpTrace& trace) {
  Matrix X(trace.n_tokens, trace.n_embd), S(trace.n_tokens, trace.n_ff);
  trace.read(trace.input, 0, X.view());
  predictor.score(compute, X.view(), S.view());
  size_t right = 0, active = 0, found = 0;
  for (size_t i = 0; i < S.values.size(); ++i) {
    const bool is = trace.code[i] != 0, says = S.values[i] > 0;
    right += is == says;
    active += is;
    found += is && says;
  }
  return {double(right) / double(S.values.size()), double(found) / double(active)};
}

TEST(LowRankFit, FindsALowRankLawExactly) {
  Compute compute(2);
  const KnownLayer layer;
  const LowRankBasis basis = fit_basis(compute, layer.first(), layer.norms, layer.trace, kTokens, 32);
  const auto full = accuracy(compute, *make_low_rank(truncate(basis, kTrue), DType::kF32, false), layer.trace);
  EXPECT_GT(full.first, 0.995);
  const auto half = accuracy(compute, *make_low_rank(truncate(basis, kTrue / 2), DType::kF32, false), layer.trace);
  EXPECT_LT(half.first, full.first);
  EXPECT_GT(half.first, 0.7) << "half of the directions, the leading ones, tell most";
}

TEST(LowRankFit, LooksAheadThroughALinearMap) {
  Compute compute(2);
  const KnownLayer layer(true);
  const LowRankBasis basis = fit_basis(compute, layer.first(), layer.norms, layer.trace, kTokens, 32);
  EXPECT_GT(accuracy(compute, *make_low_rank(truncate(basis, 32), DType::kF32, false), layer.trace).first, 0.97);
}

TEST(LowRankFit, EightBitsCostLittle) {
  Compute compute(1);
  const KnownLayer layer;
  const LowRankFit fit = truncate(fit_basis(compute, layer.first(), layer.norms, layer.trace, kTokens, 32), 32);
  const auto q8 = make_low_rank(fit, DType::kQ8_0, false), q4 = make_low_rank(fit, DType::kQ4_0, false);
  EXPECT_GT(accuracy(compute, *q8, layer.trace).first, 0.97);
  EXPECT_LT(q4->bytes(), q8->bytes());
}

TEST(Trainer, LearnsFromNoiseAndFavoursRecall) {
  Compute compute(2);
  const KnownLayer layer;
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  LowRankFit fit;
  fit.in = Matrix(8, kEmbd), fit.out = Matrix(kFf, 8), fit.bias.assign(kFf, 0.1f);
  for (Matrix* m : {&fit.in, &fit.out})
    for (float& v : m->values) v = 0.1f * normal(rng);
  TrainOptions options;
  options.n_epochs = 30;
  options.batch = 128;
  options.rate = 0.05;
  const TrainReport report = train_low_rank(compute, fit, layer.trace, kTokens, options);
  EXPECT_LT(report.loss, 0.4 * report.loss_before);
  const auto [right, recall] = accuracy(compute, *make_low_rank(fit, DType::kF32, false), layer.trace);
  EXPECT_GT(right, 0.9);
  EXPECT_GT(recall, 0.95);
}

TEST(Trainer, AHiddenReluBeginsAtTheClosedFormAndLearnsToo) {
  Compute compute(2);
  const KnownLayer layer;
  const LowRankBasis basis = fit_basis(compute, layer.first(), layer.norms, layer.trace, kTokens, 32);
  const LowRankFit linear = truncate(basis, kTrue / 2);
  LowRankFit fit = rectified(linear);
  EXPECT_EQ(fit.rank(), 2 * linear.rank());
  const auto before = accuracy(compute, *make_low_rank(fit, DType::kF32, true), layer.trace);
  EXPECT_NEAR(before.first, accuracy(compute, *make_low_rank(linear, DType::kF32, false), layer.trace).first, 1e-4);
  TrainOptions options;
  options.n_epochs = 10;
  options.batch = 128;
  options.relu = true;
  const TrainReport report = train_low_rank(compute, fit, layer.trace, kTokens, options);
  EXPECT_LT(report.loss, report.loss_before);
}

TEST(Trainer, NeverReturnsWorseThanItGot) {
  Compute compute(1);
  const KnownLayer layer;
  LowRankFit fit = truncate(fit_basis(compute, layer.first(), layer.norms, layer.trace, kTokens, 32), kTrue);
  const LowRankFit before = fit;
  TrainOptions options;
  options.rate = 50;  // destroys everything at once
  const TrainReport report = train_low_rank(compute, fit, layer.trace, kTokens, options);
  EXPECT_EQ(report.loss, report.loss_before);
  EXPECT_EQ(fit.out.values, before.out.values);
}

TEST(Curve, SaysWhatItsThresholdsDo) {
  Compute compute(2);
  const KnownLayer layer;
  const LowRankBasis basis = fit_basis(compute, layer.first(), layer.norms, layer.trace, kTokens, 32);
  const auto predictor = make_low_rank(truncate(basis, 3), DType::kF32, false);
  const size_t first = kTokens - 500;
  const Trial trial{predictor.get(), &layer.trace, first};
  const DensityCurve curve = measure_curve(compute, {&trial, 1});
  ASSERT_GT(curve.size(), 5u);
  Matrix X(500, kEmbd), S(500, kFf);
  layer.trace.read(layer.trace.input, first, X.view());
  predictor->score(compute, X.view(), S.view());
  for (const CurvePoint& p : curve) {
    double chosen = 0, active = 0, found = 0, value = 0, lost = 0;
    Rows selection;
    for (size_t t = 0; t < 500; ++t) {
      select_above(S.row(t), p.threshold, selection);
      chosen += double(selection.size());
      for (size_t k = 0; k < kFf; ++k) {
        const uint8_t code = layer.trace.codes(first + t)[k];
        const bool in = std::ranges::binary_search(selection.ids(), uint32_t(k));
        active += code != 0, found += code != 0 && in;
        value += squared_contribution(code), lost += in ? 0 : squared_contribution(code);
      }
    }
    EXPECT_NEAR(p.density, chosen / (500.0 * kFf), 2e-3);
    EXPECT_NEAR(p.recall, found / active, 2e-3);
    EXPECT_NEAR(p.loss, lost / value, 2e-3);
  }
}

// A bit per weight knows less than a rank that suffices, and much more than nothing.
TEST(SignFit, TellsActiveFromSilent) {
  Compute compute(2);
  const KnownLayer layer;
  NeuronStatistics s = neuron_statistics(layer.trace, kTokens);
  std::ranges::fill(s.value, 1.0f), std::ranges::fill(s.frequency, 1.0f), s.mean_when_active = 1;  // log-odds alone
  const auto [right, recall] =
      accuracy(compute, *make_sign_predictor(compute, layer.first(), layer.trace, kTokens, s), layer.trace);
  double majority = 0;
  for (float f : neuron_statistics(layer.trace, kTokens).frequency) majority += std::max(f, 1 - f) / double(kFf);
  EXPECT_GT(right, majority + 0.15 * (1 - majority));
  EXPECT_GT(recall, 0.4);
}

TEST(HotSet, RanksByMeanSquaredContribution) {
  const KnownLayer layer;
  const NeuronStatistics s = neuron_statistics(layer.trace, kTokens);
  EXPECT_GT(s.density, 0.05);
  EXPECT_LT(s.density, 0.6);
  Compute compute(1);
  Matrix X(1, kEmbd), S(1, kFf);
  make_hot_set(s, kEmbd)->score(compute, X.view(), S.view());
  for (size_t k = 1; k < kFf; ++k) EXPECT_EQ(s.value[k] > s.value[0], S.values[k] > S.values[0]) << k;
}

}  // namespace
}  // namespace hunch
