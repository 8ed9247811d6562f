// Masks of magnitude, Wanda and SparseGPT: against the reference codes, and by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "compress/matrix/golden_matrices.h"
#include "compress/matrix/gptq.h"
#include "compress/matrix/prune_mask.h"
#include "compress/matrix/sparsegpt.h"

namespace hunch {
namespace {

size_t n_different(const Mask& a, const Mask& b) {
  size_t n = a.size() != b.size();
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) n += a[i] != b[i];
  return n;
}

Mask zeros_of(const Matrix& W) {
  Mask mask;
  for (float v : W.values) mask.push_back(v == 0);
  return mask;
}

TEST(Wanda, MasksEqualTheReference) {
  HUNCH_GOLDEN_MATRICES(golden, "algos/wanda_layer");
  const Matrix W = golden.matrix("W"), score = wanda_score(W, golden.values("scaler_row"));
  const auto want = [&](const char* name) { return golden.values<uint8_t>(std::string(name) + ".mask"); };
  EXPECT_EQ(n_different(prune_rows(score, 0.5), want("wanda_u50")), 0u);
  EXPECT_EQ(n_different(prune_rows(score, 0.3), want("wanda_u30")), 0u);
  EXPECT_EQ(n_different(prune_pattern(score, 2, 4), want("wanda_2of4")), 0u);
  EXPECT_EQ(n_different(prune_pattern(score, 4, 8), want("wanda_4of8")), 0u);
  EXPECT_EQ(n_different(prune_by_mass(score, 0.5), want("wanda_variant50")), 0u);
  EXPECT_EQ(n_different(prune_matrix(magnitude_score(W), 0.5), want("magnitude_u50")), 0u);
  EXPECT_EQ(n_different(prune_pattern(magnitude_score(W), 2, 4), want("magnitude_2of4")), 0u);
  Matrix pruned = W;
  apply_mask(prune_rows(score, 0.5), pruned);
  EXPECT_EQ(pruned.values, golden.values("wanda_u50.W"));
}

TEST(Wanda, EveryPatternEqualsTheReference) {
  HUNCH_GOLDEN_MATRICES(layer, "algos/wanda_layer");
  HUNCH_GOLDEN_MATRICES(golden, "algos2/nm_extra");
  const Matrix W = layer.matrix("W"), wanda = wanda_score(W, layer.values("scaler_row")), plain = magnitude_score(W);
  for (const auto& [pruned, m] : {std::pair{1, 2}, {1, 4}, {2, 4}, {3, 4}, {4, 8}, {6, 8}, {8, 16}}) {
    const std::string name = std::to_string(pruned) + "of" + std::to_string(m) + ".mask";
    EXPECT_EQ(n_different(prune_pattern(wanda, size_t(pruned), size_t(m)), golden.values<uint8_t>("wanda_" + name)),
              0u);
    EXPECT_EQ(n_different(prune_pattern(plain, size_t(pruned), size_t(m)), golden.values<uint8_t>("magnitude_" + name)),
              0u);
  }
}

TEST(SparseGpt, MasksAndWeightsEqualTheReference) {
  HUNCH_GOLDEN_MATRICES(golden, "algos/sparsegpt");
  Compute compute(2);
  const Matrix W = golden.matrix("W");
  const InverseHessian inverse = invert_hessian(golden.matrix("H"), {});
  for (const auto& [name, c] : golden.configs().items()) {
    SCOPED_TRACE(name);
    const Sparsity sparsity{c.at("sparsity"), c.at("prunen"), c.at("prunem")};
    GptqOptions options;
    options.grid.bits = std::max(2, c.at("quant_bits").get<int>());
    GridRule grid(W, inverse, options);
    const Matrix got =
        sparsegpt(compute, W, inverse, sparsity, c.at("blocksize"), c.at("quant_bits") > 0 ? &grid : nullptr);
    EXPECT_EQ(n_different(zeros_of(got), golden.values<uint8_t>(name + ".mask")), 0u);
    const std::vector<float> want = golden.values(name + ".W");
    float most = 0;
    for (size_t i = 0; i < want.size(); ++i) most = std::max(most, std::abs(want[i] - got.values[i]));
    EXPECT_LE(most, 2e-5f);
  }
}

TEST(PruneMask, ByHand) {
  Matrix W(2, 4);
  W.values = {3, -1, 2, 4, -0.5f, 0.25f, 8, 0.125f};
  EXPECT_EQ(prune_rows(magnitude_score(W), 0.5), (Mask{0, 1, 1, 0, 0, 1, 0, 1}));
  EXPECT_EQ(prune_matrix(magnitude_score(W), 0.25), (Mask{0, 0, 0, 0, 1, 1, 0, 1}));
  EXPECT_EQ(prune_rows(wanda_score(W, {1, 4, 0.25f, 100}), 0.5), (Mask{0, 1, 1, 0, 1, 1, 0, 0}));
  EXPECT_EQ(prune_pattern(magnitude_score(W), 1, 2), (Mask{0, 1, 1, 0, 0, 1, 0, 1}));
  Matrix same(1, 4);
  same.values = {1, 1, 1, 1};
  EXPECT_EQ(prune_pattern(same, 2, 4), (Mask{1, 1, 0, 0})) << "the first of equals";
  EXPECT_THROW(prune_pattern(W, 1, 3), Error);
  EXPECT_THROW(prune_pattern(W, 4, 4), Error);
  EXPECT_THROW(prune_pattern(W, 0, 4), Error);
}

TEST(PruneMask, ByMassTakesMoreFromRowsWhoseScoresAreUneven) {
  Matrix score(2, 100);
  for (size_t c = 0; c < 100; ++c) score.row(0)[c] = c < 90 ? 0.01f : 10, score.row(1)[c] = 1 + 0.001f * float(c);
  const Mask mask = prune_by_mass(score, 0.5);
  const auto n = [&](size_t row) {
    return std::count(mask.begin() + ptrdiff_t(row * 100), mask.begin() + ptrdiff_t(row * 100 + 100), 1);
  };
  EXPECT_GT(n(0), 80);
  EXPECT_LT(n(1), 20);
}

// One row, two inputs: whichever is pruned, the other one takes over what it can, w' = w + gone * H[0, 1] / H[kept,
// kept], but only one that is still open.
TEST(SparseGpt, TheOpenColumnTakesOver) {
  Compute compute(1);
  Matrix W(1, 2), H(2, 2);
  W.values = {0.1f, 1.0f};
  H.values = {1.0f, 0.5f, 0.5f, 2.0f};
  const InverseHessian inverse = invert_hessian(H, {1e-9, false});
  const Matrix got = sparsegpt(compute, W, inverse, {0, 1, 2});
  EXPECT_EQ(got.values[0], 0);
  EXPECT_NEAR(got.values[1], 1.0f + 0.1f * 0.5f / 2.0f, 1e-5f);
}

// The larger weight goes where its input is so small that its loss is the smaller one.
TEST(SparseGpt, ChoosesByLossNotByMagnitude) {
  Compute compute(1);
  Matrix W(1, 2), H(2, 2);
  W.values = {0.3f, 0.4f};
  H.values = {100, 0, 0, 1};
  const InverseHessian inverse = invert_hessian(H, {1e-9, false});
  EXPECT_EQ(sparsegpt(compute, W, inverse, {0, 1, 2}).values, (std::vector<float>{0.3f, 0}));
  EXPECT_EQ(sparsegpt(compute, W, inverse, {0.25, 0, 0}).values, (std::vector<float>{0.3f, 0}));
}

TEST(SparseGpt, AKnownMaskIsKept) {
  Compute compute(1);
  std::mt19937 rng(2);
  std::normal_distribution<float> normal;
  Matrix W(6, 32), X(100, 32), H(32, 32);
  for (float& v : W.values) v = normal(rng);
  for (float& v : X.values) v = normal(rng);
  for (size_t t = 0; t < 100; ++t)
    for (size_t i = 0; i < 32; ++i)
      for (size_t j = 0; j < 32; ++j) H.row(i)[j] += X.row(t)[i] * X.row(t)[j];
  const InverseHessian inverse = invert_hessian(H, {0.01, true});
  const Mask mask = prune_rows(magnitude_score(W), 0.5);
  GptqOptions options;
  options.static_groups = true;
  options.grid = {4, true, 16, false};
  GridRule grid(W, inverse, options);
  PruneRule rule(inverse, mask, W.rows, &grid);
  Matrix open = in_sweep_order(W, inverse);
  sweep_columns(compute, inverse, 8, rule, open);
  const Matrix got = in_own_order(open, inverse);
  EXPECT_EQ(got.values, grid.out.values.values);
  for (size_t i = 0; i < mask.size(); ++i)
    if (mask[i]) EXPECT_EQ(got.values[i], 0);
}

}  // namespace
}  // namespace hunch
