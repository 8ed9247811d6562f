#include "linear/corrected.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "formats/format.h"
#include "linear/layouts.h"
#include "linear/low_rank.h"
#include "linear/test_weights.h"
#include "linear/values.h"

namespace hunch {
namespace {

constexpr size_t kOut = 96, kIn = 128, kRank = 7;

class CorrectedForm : public ::testing::TestWithParam<DType> {
 protected:
  CorrectedForm() : Q(GetParam(), kOut, kIn, 1), U(DType::kF16, kOut, kRank, 2), V(DType::kF16, kRank, kIn, 3) {
    const auto stored = [&](const WeightView& view, std::vector<float> b) {
      return std::make_unique<Stored>(LinearId{}, view, WeightView(), std::move(b), layouts);
    };
    W = std::make_unique<Corrected>(stored(Q.view, bias),
                                    std::make_unique<LowRank>(LinearId{}, stored(U.view, {}), stored(V.view, {})));
  }
  double weight(size_t r, size_t i) const {
    double w = Q.values[r * kIn + i];
    for (size_t k = 0; k < kRank; ++k) w += double(U.values[r * kRank + k]) * double(V.values[k * kIn + i]);
    return w;
  }
  double product(std::span<const float> x, const Rows& in, size_t r) const {
    double sum = bias[r];
    in.for_each([&](size_t i) { sum += weight(r, i) * double(x[i]); });
    return sum;
  }
  float tolerance() const { return info(GetParam()).block_elems == 1 ? 1e-3f : 0.08f; }

  Weights Q, U, V;
  const std::vector<float> bias = random_values(kOut, 4);
  Layouts layouts;
  std::unique_ptr<Linear> W;
  Compute compute{2};
};

std::vector<Rows> some_rows(size_t n_tokens, size_t n_rows) {
  std::mt19937 rng{uint32_t(n_tokens)};
  std::vector<Rows> own;
  for (size_t t = 0; t < n_tokens; ++t) {
    std::vector<uint32_t> ids;
    for (uint32_t r = 0; r < n_rows; ++r)
      if (rng() % 3 == 0) ids.push_back(r);
    own.push_back(t == 2 ? Rows::all(n_rows) : Rows::of(std::move(ids), n_rows));
  }
  return own;
}

TEST_P(CorrectedForm, BothPartsOfTheRowsThatATokenWants) {
  for (const size_t n : {1, 2, 5, 17})
    for (const bool restricted : {false, true}) {
      const std::vector<float> X = random_values(n * kIn, 7);
      const std::vector<Rows> own = restricted ? some_rows(n, kOut) : std::vector<Rows>();
      std::vector<float> Y(n * kOut, 777.0f);
      W->dot(compute, std::vector<TokenTraits>(n), {X.data(), n, kIn}, {own}, {Y.data(), n, kOut});
      for (size_t t = 0; t < n; ++t)
        for (size_t r = 0; r < kOut; ++r) {
          const bool wanted = !restricted || own[t].is_all() || std::ranges::binary_search(own[t].ids(), uint32_t(r));
          const double want = wanted ? product({&X[t * kIn], kIn}, Rows::all(kIn), r) : 0;
          ASSERT_NEAR(Y[t * kOut + r], want, wanted ? tolerance() : 0.0f) << n << " tokens: " << t << " " << r;
        }
    }
}

TEST_P(CorrectedForm, BothPartsOfTheInputsThatATokenHas) {
  for (const bool by_input : {false, true}) {
    Linear* const matrix[] = {W.get()};
    if (by_input) layouts.store_by_input(compute, matrix, "a test");
    for (const size_t n : {1, 5, 17}) {
      const std::vector<float> A = random_values(n * kIn, 8);
      const std::vector<Rows> own = some_rows(n, kIn);
      std::vector<float> Y(n * kOut, 777.0f);
      W->add(compute, std::vector<TokenTraits>(n), {A.data(), n, kIn}, {own}, {Y.data(), n, kOut});
      for (size_t t = 0; t < n; ++t)
        for (size_t r = 0; r < kOut; ++r)
          ASSERT_NEAR(Y[t * kOut + r], product({&A[t * kIn], kIn}, own[t], r), tolerance())
              << n << " tokens, by input " << by_input << ": " << t << " " << r;
    }
  }
}

TEST_P(CorrectedForm, ItsNumbersAreTheSum) {
  const Values values(compute, *W);
  ASSERT_EQ(values.rows().dtype, DType::kF32);
  for (size_t r = 0; r < kOut; ++r)
    for (size_t i = 0; i < kIn; ++i)
      ASSERT_NEAR(reinterpret_cast<const float*>(values.rows().row(r))[i], weight(r, i), 1e-5);
  EXPECT_EQ(W->bytes(), Q.bytes.size() + U.bytes.size() + V.bytes.size());
  EXPECT_TRUE(std::ranges::equal(W->bias(), bias));
}

INSTANTIATE_TEST_SUITE_P(Formats, CorrectedForm,
                         ::testing::Values(DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace hunch
