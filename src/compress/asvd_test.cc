// ASVD's factors: against the reference's arrays, and by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "compress/matrix/golden_matrices.h"
#include "compress/whitened_svd.h"
#include "io/safetensors.h"

namespace hunch {
namespace {

TEST(Asvd, IsTheNearestOfTheScaledWeights) {
  // Of a diagonal matrix the entries that are largest once scaled stay.
  Matrix W(3, 3);
  W.values = {5, 0, 0, 0, 4, 0, 0, 0, 3};
  const std::vector<float> s = {1, 2, 0.5f};
  const LowRankFactors one = factorise_scaled(W, s, 1), two = factorise_scaled(W, s, 2);
  const auto at = [](const LowRankFactors& f, size_t r, size_t c) {
    float sum = 0;
    for (size_t k = 0; k < f.V.rows; ++k) sum += f.U.row(r)[k] * f.V.row(k)[c];
    return sum;
  };
  for (size_t r = 0; r < 3; ++r)
    for (size_t c = 0; c < 3; ++c) {
      EXPECT_NEAR(at(one, r, c), r == c && r == 1 ? 4 : 0, 1e-5);
      EXPECT_NEAR(at(two, r, c), r == c && r < 2 ? W.row(r)[c] : 0, 1e-5);
    }
  const std::vector<double> magnitudes = {32, 2, 0};
  const std::vector<float> scales = asvd_scales(magnitudes, 2);
  EXPECT_NEAR(scales[0], 4, 1e-5);
  EXPECT_NEAR(scales[1], 1, 1e-5);
  EXPECT_GT(scales[2], 0);
}

TEST(Asvd, IsTheReferences) {
  HUNCH_GOLDEN_MATRICES(golden, "algos2/lowrank_llama");
  const auto folder = shared_path("golden/models/llama");
  if (!folder || !std::filesystem::exists(*folder / "model.safetensors")) GTEST_SKIP() << "needs golden/models/llama";
  const std::string bytes = read_file(*folder / "model.safetensors");
  const std::vector<Tensor> tensors = parse_safetensors(std::as_bytes(std::span(bytes)));
  for (const std::string part : {"self_attn.q_proj", "mlp.down_proj"}) {
    SCOPED_TRACE(part);
    const auto found = std::ranges::find(tensors, "model.layers.0." + part + ".weight", &Tensor::name);
    ASSERT_NE(found, tensors.end());
    Matrix W(found->rows(), found->cols());
    codec(found->dtype).decode(found->data.data(), W.values.data(), W.values.size());
    const std::vector<float> means = golden.values("absmean." + part);
    const std::vector<double> sums(means.begin(), means.end());
    const size_t rank = golden.configs().at("r0.6." + part).at("rank");
    const LowRankFactors f = factorise_scaled(W, asvd_scales(sums, 1), rank);
    const Matrix want = golden.matrix("asvd0.5.r0.6." + part);
    double worst = 0, most = 0;
    for (size_t r = 0; r < W.rows; ++r)
      for (size_t c = 0; c < W.cols; ++c) {
        double sum = 0;
        for (size_t k = 0; k < rank; ++k) sum += double(f.U.row(r)[k]) * f.V.row(k)[c];
        worst = std::max(worst, std::abs(sum - want.row(r)[c]));
        most = std::max(most, std::abs(double(want.row(r)[c])));
      }
    EXPECT_LE(worst, 1e-4 * most);
  }
}

}  // namespace
}  // namespace hunch
