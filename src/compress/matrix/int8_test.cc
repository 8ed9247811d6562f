// SmoothQuant, LLM.int8 and ZeroQuant: against the reference codes, and by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "compress/matrix/golden_matrices.h"
#include "compress/matrix/llm_int8.h"
#include "compress/matrix/smoothquant.h"
#include "compress/matrix/zeroquant.h"

namespace hunch {
namespace {

float worst(const std::vector<float>& a, const std::vector<float>& b) {
  float most = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

template <class T>
size_t n_different(const std::vector<T>& a, const std::vector<int>& b) {
  size_t n = a.size() != b.size();
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) n += a[i] != b[i];
  return n;
}

TEST(SmoothQuant, ScalesAndWeightsAreTheReferences) {
  HUNCH_GOLDEN_MATRICES(golden, "algos/smoothquant_layer");
  const Matrix fc[] = {golden.matrix("fc0_w"), golden.matrix("fc1_w"), golden.matrix("fc2_w")};
  const Matrix* const all[] = {&fc[0], &fc[1], &fc[2]};
  for (const std::string alpha : {"0.5", "0.75", "0.85"}) {
    SCOPED_TRACE(alpha);
    const std::string a = "a" + alpha + ".";
    const std::vector<float> s = smoothing_scales(golden.values("act_scales"), input_maxima(all), std::stod(alpha));
    std::vector<float> relative = golden.values(a + "scales");
    for (size_t i = 0; i < s.size(); ++i) relative[i] = s[i] / relative[i] - 1;
    EXPECT_LE(worst(relative, std::vector<float>(s.size())), 1e-5f);
    for (int i = 0; i < 3; ++i) {
      Matrix W = fc[i];
      scale_inputs(s, W);
      EXPECT_LE(worst(W.values, golden.values(a + "fc" + std::to_string(i) + "_w")), 1e-5f);
    }
  }
}

TEST(SmoothQuant, RoundsToTheReferences8Bits) {
  HUNCH_GOLDEN_MATRICES(golden, "algos/smoothquant_layer");
  const Matrix W = golden.matrix("fc0_w"), X = golden.matrix("x");
  EXPECT_EQ(worst(round_absmax(W, ScaleOf::kRow).values, golden.values("q.w_per_channel")), 0);
  EXPECT_EQ(worst(round_absmax(W, ScaleOf::kAll).values, golden.values("q.w_per_tensor")), 0);
  EXPECT_EQ(worst(round_absmax(X, ScaleOf::kRow).values, golden.values("q.x_per_token")), 0);
  EXPECT_EQ(worst(round_absmax(X, ScaleOf::kAll).values, golden.values("q.x_per_tensor")), 0);
}

TEST(SmoothQuant, ByHand) {
  Matrix A(1, 2), B(2, 2);
  A.values = {1, -4};
  B.values = {0.5f, 2, -2, 1};
  const Matrix* const both[] = {&A, &B};
  EXPECT_EQ(input_maxima(both), (std::vector<float>{2, 4}));
  const std::vector<float> s = smoothing_scales(std::vector<float>{8, 1}, input_maxima(both), 0.5);
  EXPECT_FLOAT_EQ(s[0], 2);
  EXPECT_FLOAT_EQ(s[1], 0.5f);
  EXPECT_FLOAT_EQ(smoothing_scales(std::vector<float>{16}, std::vector<float>{1}, 0.75)[0], 8);
  EXPECT_FLOAT_EQ(smoothing_scales(std::vector<float>{1}, std::vector<float>{16}, 0.75)[0], 0.5f);
  scale_inputs(s, B);
  EXPECT_EQ(B.values, (std::vector<float>{1, 1, -4, 0.5f}));
  unscale_outputs(s, B);
  EXPECT_EQ(B.values, (std::vector<float>{0.5f, 0.5f, -8, 1}));
  Matrix X(1, 3);
  X.values = {127, -1.4f, 0.6f};
  EXPECT_EQ(round_absmax(X, ScaleOf::kRow).values, (std::vector<float>{127, -1, 1}));
}

TEST(LlmInt8, CodesAndProductsAreTheReferences) {
  HUNCH_GOLDEN_MATRICES(golden, "algos2/llm_int8");
  const Matrix W = golden.matrix("W");
  const Int8Rows w = int8_rows(W);
  EXPECT_EQ(n_different(w.codes, golden.values<int>("CB")), 0u);
  EXPECT_EQ(worst(w.absmax, golden.values("SCB")), 0);
  EXPECT_LE(worst(decode(w).values, golden.values("W_dequantised")), 1e-6f);
  for (const char* config : {"a", "b", "c", "row"}) {
    SCOPED_TRACE(config);
    const std::string name = std::string(config) + ".";
    const Matrix X = golden.matrix(name + "X");
    const Int8Rows library = int8_tokens(X, 6, OutlierScale::kWithoutValues),
                   paper = int8_tokens(X, 6, OutlierScale::kWithoutColumns);
    EXPECT_EQ(library.outliers, golden.values<uint32_t>(name + "outlier_cols"));
    EXPECT_EQ(n_different(library.codes, golden.values<int>(name + "codes")), 0u);
    EXPECT_EQ(worst(library.absmax, golden.values(name + "absmax")), 0);
    EXPECT_EQ(n_different(paper.codes, golden.values<int>(name + "paper_codes")), 0u);
    EXPECT_EQ(worst(paper.absmax, golden.values(name + "paper_absmax")), 0);
    // The library's products are f16.
    const auto expect_near = [&](const Matrix& got, const char* want) {
      float most = 0;
      for (float v : got.values) most = std::max(most, std::abs(v));
      EXPECT_LE(worst(got.values, golden.values(name + want)), 1.5e-3f * most) << want;
    };
    expect_near(multiply_int8(library, X, w, decode(w)), "y_mixed");
    expect_near(multiply_int8(paper, X, w, W), "y_paper");
  }
}

TEST(LlmInt8, ByHand) {
  Matrix X(2, 3), W(1, 3);
  X.values = {1, 7, -0.5f, 2, 3, 1};  // the second column is an outlier
  W.values = {127, 10, -127};
  const Int8Rows x = int8_tokens(X, 6, OutlierScale::kWithoutColumns), w = int8_rows(W);
  EXPECT_EQ(x.outliers, std::vector<uint32_t>{1});
  EXPECT_EQ(x.codes, (std::vector<int8_t>{127, 0, -64, 127, 0, 64}));
  EXPECT_EQ(x.absmax, (std::vector<float>{1, 2}));
  EXPECT_EQ(int8_tokens(X, 6, OutlierScale::kWithoutValues).absmax, (std::vector<float>{1, 3}));
  EXPECT_EQ(w.codes, (std::vector<int8_t>{127, 10, -127}));
  const Matrix Y = multiply_int8(x, X, w, W);
  EXPECT_NEAR(Y.values[0], 127 + 7 * 10 + 64, 1e-3);
  EXPECT_NEAR(Y.values[1], 2 * 127 + 3 * 10 - 2 * 64, 1e-3);
}

TEST(ZeroQuant, CodesAreTheReferences) {
  HUNCH_GOLDEN_MATRICES(golden, "algos2/zeroquant");
  size_t n = 0;
  for (const auto& [name, c] : golden.configs().items()) {
    SCOPED_TRACE(name);
    const ZeroQuantised got = zeroquant(golden.matrix(name.starts_with("w") ? "W" : "X"), c.at("bits"),
                                        c.at("num_groups"), c.at("symmetric"));
    EXPECT_EQ(n_different(got.codes, golden.values<int>(name + ".codes")), 0u);
    EXPECT_LE(worst(got.scale, golden.values(name + ".scale")), 1e-6f);
    EXPECT_LE(worst(got.values.values, golden.values(name + ".dequantised")), 1e-6f);
    if (!c.at("symmetric")) EXPECT_LE(worst(got.zero, golden.values(name + ".zero")), 1e-6f);
    ++n;
  }
  EXPECT_EQ(n, 10u);
}

TEST(ZeroQuant, ByHand) {
  Matrix W(2, 2);
  W.values = {-2, 2, 0.3f, 1};
  const ZeroQuantised got = zeroquant(W, 2, 2, true);
  EXPECT_EQ(got.codes, (std::vector<int>{-2, 1, 1, 1})) << "the largest is clamped";
  EXPECT_EQ(got.scale, (std::vector<float>{1, 0.5f}));
  const ZeroQuantised all = zeroquant(W, 2, 1, false);
  EXPECT_EQ(all.codes, (std::vector<int>{0, 3, 2, 3}));
  EXPECT_EQ(all.values.values, (std::vector<float>{-2, 1, 0, 1}));
  EXPECT_THROW(zeroquant(W, 4, 3, true), Error);
  EXPECT_THROW(zeroquant(W, 4, 0, true), Error);
  Matrix same(1, 2);
  same.values = {3, 3};
  EXPECT_EQ(zeroquant(same, 4, 1, false).values.values, same.values);
}

}  // namespace
}  // namespace hunch
