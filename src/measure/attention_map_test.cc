#include "measure/attention_map.h"

#include <gtest/gtest.h>

#include "engine/generate.h"
#include "model/golden_data.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

fs::path fixture(const std::string& name) { return fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / name; }

class AttentionMapOf : public ::testing::TestWithParam<const char*> {};

// Weights times values are the head's output that the engine computed: grouped queries, ALiBi, soft cap, windows.
TEST_P(AttentionMapOf, ReproducesTheHeads) {
  const Engine engine = load_engine(fixture(GetParam()), {2});
  const ModelConfig& c = engine.config();
  struct Check : Observer {
    const ModelConfig& c;
    std::vector<std::vector<float>> expected;
    size_t n_checked = 0;
    explicit Check(const ModelConfig& config) : c(config) {}
    void on_attention(size_t layer, MatView<const float> q, MatView<const float> k, MatView<const float> v) override {
      expected.clear();
      for (size_t h = 0; h < c.n_head; ++h) {
        const std::vector<float> P = attention_weights(c.layers[layer], h, q, k);
        std::vector<float> out(q.rows * c.d_head);
        for (size_t i = 0; i < q.rows; ++i) {
          float sum = 0;
          for (size_t j = 0; j < q.rows; ++j) {
            sum += P[i * q.rows + j];
            EXPECT_TRUE(j <= i || P[i * q.rows + j] == 0.0f);
            for (size_t d = 0; d < c.d_head; ++d)
              out[i * c.d_head + d] += P[i * q.rows + j] * v.row(j)[h / (c.n_head / c.n_kv_head) * c.d_head + d];
          }
          EXPECT_NEAR(sum, 1.0f, 1e-5f);
        }
        expected.push_back(out);
      }
    }
    void on_heads(size_t, MatView<const float> heads) override {
      for (size_t t = 0; t < heads.rows; ++t)
        for (size_t h = 0; h < c.n_head; ++h)
          for (size_t d = 0; d < c.d_head; ++d, ++n_checked)
            ASSERT_NEAR(heads.row(t)[h * c.d_head + d], expected[h][t * c.d_head + d], 2e-5f)
                << "token " << t << " head " << h;
    }
  } check(c);
  Context context(engine, {.n_ctx = 64});
  context.set_observer(&check);
  const std::vector<int32_t> ids = GoldenData(fixture(GetParam()) / "golden").sequences[2].ids;
  context.append(ids);
  EXPECT_EQ(check.n_checked, c.n_layer * ids.size() * c.n_head * c.d_head);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, AttentionMapOf,
                         ::testing::Values("opt_sparse", "llama_mha", "bloom_h6", "gemma2", "qwen2_moe"),
                         [](const auto& i) { return std::string(i.param); });

std::vector<float> rows_where(size_t n, auto weight) {
  std::vector<float> P(n * n);
  for (size_t i = 0; i < n; ++i) {
    float sum = 0;
    for (size_t j = 0; j <= i; ++j) sum += P[i * n + j] = weight(i, j);
    for (size_t j = 0; j <= i; ++j) P[i * n + j] /= sum;
  }
  return P;
}

TEST(HeadHabit, TellsTheKindsApart) {
  constexpr size_t n = 32;
  const auto uniform = rows_where(n, [](size_t, size_t) { return 1.0f; });
  EXPECT_NEAR(head_habit(uniform, n).entropy, 1.0, 1e-6);
  EXPECT_EQ(kind_of(head_habit(uniform, n)), HeadKind::kUniform);
  EXPECT_TRUE(heavy_hitters(uniform, n).empty());

  const auto sink = rows_where(n, [](size_t, size_t j) { return j == 0 ? 60.0f : 1.0f; });
  EXPECT_EQ(kind_of(head_habit(sink, n)), HeadKind::kSink);

  const auto previous = rows_where(n, [](size_t i, size_t j) { return j + 1 == i || i == 0 ? 60.0f : 1.0f; });
  EXPECT_EQ(kind_of(head_habit(previous, n)), HeadKind::kPrevious);

  const auto heavy = rows_where(n, [](size_t, size_t j) { return j == 5 ? 60.0f : 1.0f; });
  EXPECT_EQ(kind_of(head_habit(heavy, n)), HeadKind::kHeavyHitter);
  EXPECT_EQ(head_habit(heavy, n).heaviest_key, 5u);
  EXPECT_EQ(heavy_hitters(heavy, n), std::vector<uint32_t>{5});

  EXPECT_EQ(head_habit({1.0f}, 1).entropy, 0.0);  // one token: nothing to say, and no crash
}

}  // namespace
}  // namespace hunch
