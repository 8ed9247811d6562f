#include "select/spatten.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "io/golden_arrays.h"

namespace hunch {
namespace {

using Ids = std::vector<uint32_t>;

TEST(SpattenCascade, DroppedTokensKeepTheirScoreAndNewOnesJoin) {
  SpattenCascade cascade(4, 2);
  cascade.observe(std::vector<float>{1, 4, 2, 3}, std::vector<float>{5, 6});
  cascade.prune(2, 1);
  EXPECT_EQ(Ids(cascade.tokens().begin(), cascade.tokens().end()), (Ids{1, 3}));
  EXPECT_EQ(Ids(cascade.heads().begin(), cascade.heads().end()), (Ids{1}));
  cascade.append(1);
  cascade.observe(std::vector<float>{1, 1, 9}, std::vector<float>{1});
  cascade.prune(2, 9);
  EXPECT_EQ(Ids(cascade.tokens().begin(), cascade.tokens().end()), (Ids{1, 4}));
  EXPECT_EQ(cascade.token_scores()[0], 1);
  EXPECT_EQ(cascade.head_scores()[0], 5);
}

// Attention of live heads and tokens in double precision; returns the evidence, checks the outputs.
struct Evidence {
  std::vector<float> token_sums, head_sums;
};

Evidence attend(const GoldenArrays& golden, const std::string& layer, bool causal, Ids tokens, Ids heads) {
  const auto q = golden.get<double>(layer + ".q"), k = golden.get<double>(layer + ".k");
  const auto v = golden.get<double>(layer + ".v");
  const auto out = golden.get<float>(layer + ".out");
  const size_t d = q.shape[2];
  Evidence evidence{std::vector<float>(tokens.size()), std::vector<float>(heads.size())};
  std::vector<double> token_sums(tokens.size());
  for (size_t h = 0; h < heads.size(); ++h) {
    double head_sum = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::vector<double> p(tokens.size());
      double total = 0;
      for (size_t j = 0; j < tokens.size(); ++j) {
        if (causal && j > i) continue;
        double dot = 0;
        for (size_t c = 0; c < d; ++c) dot += q.row(heads[h], tokens[i])[c] * k.row(heads[h], tokens[j])[c];
        total += p[j] = std::exp(dot / std::sqrt(double(d)));
      }
      for (size_t j = 0; j < tokens.size(); ++j) token_sums[j] += p[j] /= total;
      for (size_t c = 0; c < d; ++c) {
        double all = 0;
        for (size_t j = 0; j < tokens.size(); ++j) all += p[j] * v.row(heads[h], tokens[j])[c];
        EXPECT_NEAR(all, out.row(h, i)[c], 1e-5);
        head_sum += std::fabs(all);
      }
    }
    evidence.head_sums[h] = float(head_sum);
  }
  std::ranges::transform(token_sums, evidence.token_sums.begin(), [](double x) { return float(x); });
  return evidence;
}

TEST(SpattenCascade, PrunesTokensAndHeadsAsThePaperDoes) {
  const auto path = shared_path("golden/algos2/spatten.json");
  if (!path) GTEST_SKIP() << "needs golden/algos2";
  const GoldenArrays golden(path->parent_path() / "spatten");
  for (const std::string name : {"cascade_encoder", "cascade_causal"}) {
    SCOPED_TRACE(name);
    const auto& settings = golden.configs().at(name);
    SpattenCascade cascade(32, 6);
    for (size_t layer = 0; layer < 4; ++layer) {
      SCOPED_TRACE(layer);
      const std::string prefix = name + ".l" + std::to_string(layer);
      cascade.prune(settings["tokens_kept"][layer], settings["heads_kept"][layer]);
      const Ids tokens(cascade.tokens().begin(), cascade.tokens().end());
      const Ids heads(cascade.heads().begin(), cascade.heads().end());
      ASSERT_EQ(tokens, golden.get<uint32_t>(prefix + ".tokens").values);
      ASSERT_EQ(heads, golden.get<uint32_t>(prefix + ".heads").values);
      const Evidence evidence = attend(golden, prefix, settings["causal"], tokens, heads);
      cascade.observe(evidence.token_sums, evidence.head_sums);
      const auto token_score = golden.get<float>(prefix + ".token_score").values;
      const auto head_score = golden.get<float>(prefix + ".head_score").values;
      for (size_t t = 0; t < 32; ++t) EXPECT_NEAR(cascade.token_scores()[t], token_score[t], 1e-4) << t;
      for (size_t h = 0; h < 6; ++h) EXPECT_NEAR(cascade.head_scores()[h], head_score[h], 1e-5 * head_score[h]) << h;
    }
  }
}

}  // namespace
}  // namespace hunch
