#include "measure/by_position.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "base/test_paths.h"
#include "io/test_errors.h"
#include "measure/perplexity.h"
#include "select/key_policies.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

const Engine& demo() {
  static const Engine engine =
      load_engine(fs::path(HUNCH_SOURCE_DIR) / "models" / "demo" / "hunch-demo.gguf", {.n_threads = 1});
  return engine;
}

std::vector<int32_t> text() {
  const std::string all = read_file(fs::path(HUNCH_SOURCE_DIR) / "models" / "demo" / "eval.txt");
  return demo().encode(all.substr(0, 3000));
}

TEST(ByPosition, BucketsTogetherAreThePerplexity) {
  const std::vector<int32_t> ids = text();
  const CompareMode mode{"exact", {}};
  const auto curves =
      perplexity_by_position(demo(), {&mode, 1}, ids, {.n_ctx = 96, .n_buckets = 5, .max_tokens = 96 * 4 + 7});
  ASSERT_EQ(curves.size(), 1u);
  double nll = 0;
  size_t n = 0, end = 0;
  for (const PositionBucket& b : curves[0].buckets) {
    EXPECT_EQ(b.begin, end);
    end = b.end;
    nll += b.nll * double(b.n);
    n += b.n;
    EXPECT_GT(b.nll_stderr, 0);
  }
  EXPECT_EQ(end, 96u);
  EXPECT_EQ(n, 4u * 95);  // nothing stands before a window's first token
  const Perplexity want = perplexity(demo(), {}, std::span(ids).first(96 * 4), {.n_ctx = 96, .stride = 96});
  EXPECT_EQ(want.n_tokens, n);
  EXPECT_NEAR(nll, want.nll, 1e-3 * want.nll);
}

// Positions of the demo model are a table: without a policy that streams, its curve ends with it.
TEST(ByPosition, ATableEndsAndAPolicyStreamsOn) {
  std::vector<int32_t> ids = text();
  const size_t trained = demo().config().n_ctx_train;
  while (ids.size() < 2 * trained) ids.insert(ids.end(), ids.begin(), ids.begin() + 100);
  std::vector<CompareMode> modes = {{"trained", {}}, {"streaming", {}}};
  modes[1].context.keys = key_policy_from("streaming:32");
  const auto curves = perplexity_by_position(demo(), modes, ids, {.n_ctx = trained + trained / 2, .n_buckets = 3});
  EXPECT_GT(curves[0].buckets[1].n, 0u);
  EXPECT_LE(curves[0].buckets[2].n, 1u);
  EXPECT_EQ(curves[1].buckets[2].n, trained / 2);
  EXPECT_TRUE(std::isfinite(curves[1].buckets[2].perplexity()));
}

TEST(ByPosition, RefusesTextsThatAreTooShort) {
  const CompareMode mode{"exact", {}};
  const std::vector<int32_t> ids(50, 300);
  const auto asked = [&](const ByPositionOptions& options) {
    return message_of(ErrorKind::kUsage, [&] { perplexity_by_position(demo(), {&mode, 1}, ids, options); });
  };
  EXPECT_NE(asked({.n_ctx = 64}).find("50 tokens"), std::string::npos);
  EXPECT_NE(asked({.n_ctx = 16, .n_buckets = 9}).find("9 buckets"), std::string::npos);
}

}  // namespace
}  // namespace hunch
