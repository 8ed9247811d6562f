#include "compress/matrix/gptq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"
#include "compress/matrix/golden_matrices.h"

namespace hunch {
namespace {

size_t n_different(const std::vector<uint8_t>& a, const std::vector<int>& b) {
  size_t n = a.size() != b.size();
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) n += a[i] != b[i];
  return n;
}

float worst(const std::vector<float>& a, const std::vector<float>& b) {
  float most = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

// The reference cuts such a group off at 7/15 of its largest weight: its range then is 0 to that, its zero in the
// middle.
TEST(Grid, OfASymmetricGroupWithoutNegativeWeightsCoversThem) {
  const std::vector<float> w = {0.1f, 0.4f, 0.0f, 1.0f};
  for (const bool negated : {false, true}) {
    std::vector<float> v = w;
    for (float& x : v) x = negated ? -x : x;
    const Grid grid = fit_grid(v, {4, true});
    for (const float x : v) EXPECT_NEAR(grid.value(grid.code(x)), x, 0.51f * grid.scale) << negated;
  }
}

TEST(Gptq, CodesEqualTheReferenceInEverySetting) {
  HUNCH_GOLDEN_MATRICES(golden, "algos/gptq");
  Compute compute(2);
  const Matrix W = golden.matrix("W"), H = golden.matrix("H");
  size_t n_settings = 0;
  for (const auto& [name, c] : golden.configs().items()) {
    SCOPED_TRACE(name);
    GptqOptions options;
    options.grid.bits = c.at("bits");
    options.grid.symmetric = c.at("sym");
    options.grid.search = c.at("mse");
    options.grid.group = size_t(std::max(0, c.at("groupsize").get<int>()));
    options.static_groups = c.at("static_groups");
    const InverseHessian inverse = invert_hessian(H, {0.01, c.at("actorder").get<bool>()});
    if (c.at("actorder")) {
      EXPECT_EQ(inverse.order, golden.values<uint32_t>("perm"));
    }
    const CodedMatrix Q = gptq(compute, W, inverse, options);
    EXPECT_EQ(n_different(Q.codes, golden.values<int>(name + ".codes")), 0u);
    EXPECT_EQ(Q.group, golden.values<uint32_t>(name + ".gidx"));
    EXPECT_LE(worst(Q.zero.values, golden.values(name + ".zero")), 0);
    EXPECT_LE(worst(Q.scale.values, golden.values(name + ".scale")), 2e-6f);
    EXPECT_LE(worst(Q.values.values, golden.values(name + ".Q")), 2e-5f);
    EXPECT_EQ(worst(round_to_nearest(W, options.grid).values.values, golden.values(name + ".RTN")), 0);
    ++n_settings;
  }
  EXPECT_EQ(n_settings, 14u);
}

struct Case {
  Matrix W, H;
};

// Inputs that depend on each other: most of what makes GPTQ worth it.
Case random_case(size_t n_out, size_t n_in, size_t n_tokens) {
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  Case c{Matrix(n_out, n_in), Matrix(n_in, n_in)};
  for (float& w : c.W.values) w = normal(rng);
  for (size_t t = 0; t < n_tokens; ++t) {
    std::vector<float> x(n_in);
    float last = 0;
    for (float& v : x) v = last = 0.9f * last + normal(rng);
    for (size_t i = 0; i < n_in; ++i)
      for (size_t j = 0; j < n_in; ++j) c.H.values[i * n_in + j] += x[i] * x[j];
  }
  return c;
}

// tr(E H E^T)
double output_error(const Case& c, const Matrix& Q) {
  double sum = 0;
  for (size_t r = 0; r < Q.rows; ++r)
    for (size_t i = 0; i < Q.cols; ++i)
      for (size_t j = 0; j < Q.cols; ++j)
        sum += double(c.W.row(r)[i] - Q.row(r)[i]) * c.H.values[i * Q.cols + j] * (c.W.row(r)[j] - Q.row(r)[j]);
  return sum;
}

// With two columns, the second makes up for the first by -e H[0, 1] / H[1, 1] before it is rounded itself.
TEST(Gptq, TheSecondColumnMakesUpForTheFirst) {
  Compute compute(1);
  Matrix W(1, 2), H(2, 2);
  W.values = {0.4f, 1.0f};
  H.values = {2.0f, 1.0f, 1.0f, 1.0f};
  const InverseHessian inverse = invert_hessian(H, {1e-9, false});
  struct ToInteger : ColumnRule {
    std::vector<float> seen;
    float settle(const Place&, float w) override {
      seen.push_back(w);
      return std::nearbyint(w);
    }
  };
  for (size_t n_together : {1, 2}) {
    ToInteger rule;
    Matrix open = W;
    sweep_columns(compute, inverse, n_together, rule, open);
    EXPECT_NEAR(rule.seen[0], 0.4f, 1e-6f);
    EXPECT_NEAR(rule.seen[1], 1.0f + 0.4f * H.values[1] / H.values[3], 1e-5f);
    EXPECT_EQ(open.values, (std::vector<float>{0, 1}));
  }
}

TEST(Gptq, IsBetterThanRoundingAndWithoutCorrelationsTheSame) {
  Compute compute(2);
  Case c = random_case(9, 96, 400);
  for (const bool act_order : {false, true}) {
    GptqOptions options;
    options.grid = {3, false, 32, false};
    const Matrix Q = gptq(compute, c.W, invert_hessian(c.H, {0.01, act_order}), options).values;
    EXPECT_LT(output_error(c, Q), 0.5 * output_error(c, round_to_nearest(c.W, options.grid).values));
  }
  for (size_t i = 0; i < 96; ++i)
    for (size_t j = 0; j < 96; ++j) c.H.values[i * 96 + j] *= i == j;
  GptqOptions options;
  options.grid = {4, true, 48, false};
  options.n_together = 20;
  EXPECT_EQ(gptq(compute, c.W, invert_hessian(c.H, {}), options).codes, round_to_nearest(c.W, options.grid).codes);
}

TEST(Hessian, DeadColumnsSingularMatricesAndValuesThatAreNotFinite) {
  Case c = random_case(2, 40, 10);  // fewer tokens than inputs: singular
  for (size_t i = 0; i < 40; ++i) c.H.values[i * 40 + 7] = c.H.values[7 * 40 + i] = 0;
  const InverseHessian inverse = invert_hessian(c.H, {0.01, true});
  EXPECT_EQ(inverse.dead, std::vector<uint32_t>{7});
  EXPECT_EQ(inverse.damping, 0.01);
  EXPECT_GT(invert_hessian(c.H, {1e-19, false}).damping, 1e-19) << "singular, and taken all the same";
  Compute compute(1);
  const CodedMatrix Q = gptq(compute, c.W, inverse, {});
  for (size_t r = 0; r < 2; ++r) EXPECT_EQ(Q.values.row(r)[7], 0) << "nothing is known of it";
  c.H.values[3] = NAN;
  EXPECT_THROW(invert_hessian(c.H, {}), Error);
  c.H.values[3] = 0;
  c.W.values[3] = INFINITY;
  EXPECT_THROW(gptq(compute, c.W, inverse, {}), Error);
}

TEST(Hessian, ActOrderBeginsWithTheLargestInputs) {
  Matrix H(3, 3);
  for (size_t i = 0; i < 3; ++i) H.row(i)[i] = float(i == 1 ? 9 : i + 1);
  EXPECT_EQ(invert_hessian(H, {0.01, true}).order, (std::vector<uint32_t>{1, 2, 0}));
  EXPECT_EQ(invert_hessian(H, {0.01, false}).order, (std::vector<uint32_t>{0, 1, 2}));
}

TEST(GroupGrid, ByHand) {
  Matrix W(1, 4);
  W.values = {-1, 0.6f, 0.4f, 2};  // two bits over [-1, 2]: a scale of 1, zero at code 1
  const CodedMatrix Q = round_to_nearest(W, {2, false, 0, false});
  EXPECT_EQ(Q.codes, (std::vector<uint8_t>{0, 2, 1, 3}));
  EXPECT_EQ(Q.values.values, (std::vector<float>{-1, 1, 0, 2}));
  W.values = {-1.5f, 0.6f, 0.4f, 1};  // [-1.5, 1.5]: a scale of 1, zero at code 2
  EXPECT_EQ(round_to_nearest(W, {2, true, 0, false}).codes, (std::vector<uint8_t>{0, 3, 2, 3}));
  W.values = {1, 2, 2.5f, 3};  // 0 is covered
  EXPECT_EQ(round_to_nearest(W, {2, false, 0, false}).values.values, (std::vector<float>{1, 2, 2, 3}));
}

TEST(GroupGrid, SaysWhatDoesNotFit) {
  const Matrix W(2, 48);
  EXPECT_THROW(round_to_nearest(W, {4, false, 32, false}), Error);
  EXPECT_THROW(round_to_nearest(W, {1, false, 0, false}), Error);
  EXPECT_THROW(round_to_nearest(W, {9, false, 0, false}), Error);
  for (float v : round_to_nearest(W, {4, false, 16, false}).values.values) EXPECT_EQ(v, 0);
}

}  // namespace
}  // namespace hunch
