// Texts forty times as long as what a model was trained on go through a cache of half of that.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/file.h"
#include "base/test_paths.h"
#include "engine/context.h"
#include "kernels/ops.h"
#include "select/key_policies.h"

namespace hunch {
namespace {

constexpr size_t kTokens = 20000, kBudget = 256, kMeasured = 512;

// What decoding the ids one by one costs: of each but the first, its negative log-probability in nats.
std::vector<double> decode(Context& context, std::span<const int32_t> ids) {
  std::vector<double> nll;
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    const std::span<const float> logits = context.decode(ids.subspan(i, 1));
    for (const float x : logits) EXPECT_TRUE(std::isfinite(x)) << i;
    nll.push_back(log_sum_exp(logits) - logits[size_t(ids[i + 1])]);
  }
  return nll;
}

double perplexity(std::span<const double> nll) {
  return std::exp(std::accumulate(nll.begin(), nll.end(), 0.0) / double(nll.size()));
}

struct Perplexities {
  // Of the last kMeasured tokens: after the whole text, and in a cache that has only read the kMeasured before them.
  double streamed, fresh;
  // Of the last kBudget tokens: after the whole text, and without a policy, in a context that holds as many before.
  double streamed_end, whole_end;
};

Perplexities stream(const Engine& engine, std::span<const int32_t> ids) {
  const auto context = [&](bool streams) {
    ContextOptions options;
    options.n_ctx = 2 * kBudget;
    if (streams) options.keys = key_policy_from(fmt::format("streaming:{}", kBudget));
    return Context(engine, options);
  };
  Context all = context(true), fresh = context(true), whole = context(false);
  const size_t n_free = all.batch().n_free_tokens();
  all.append(ids.first(ids.size() - kMeasured));
  const std::vector<double> streamed = decode(all, ids.last(kMeasured));
  EXPECT_EQ(all.n_tokens(), ids.size() - 1);
  EXPECT_EQ(all.sequence().n_cached(), kBudget);
  EXPECT_EQ(all.batch().n_free_tokens(), n_free - kBudget) << "the cache grew";
  fresh.append(ids.last(2 * kMeasured).first(kMeasured));
  const std::vector<double> reread = decode(fresh, ids.last(kMeasured));
  whole.append(ids.last(2 * kBudget).first(kBudget));
  const std::vector<double> end = decode(whole, ids.last(kBudget));
  const Perplexities p{perplexity(streamed), perplexity(reread), perplexity(std::span(streamed).last(end.size())),
                       perplexity(end)};
  std::printf("perplexity streamed %.2f, fresh %.2f; of the last %zu tokens %.2f, %.2f without a policy\n", p.streamed,
              p.fresh, kBudget, p.streamed_end, p.whole_end);
  return p;
}

std::vector<int32_t> read_ids(const Engine& engine, const std::filesystem::path& text, size_t n) {
  const std::vector<int32_t> once = engine.need_tokenizer().encode(read_file(text).substr(0, 100000), {false, false});
  std::vector<int32_t> ids;
  while (ids.size() < n) ids.insert(ids.end(), once.begin(), once.end());
  ids.resize(n);
  return ids;
}

// Positions are a table that ends with the training's 512: the model was never shown a window whose tokens have all the
// same one, and pays for it (docs/key-policies.md). What it pays does not grow.
TEST(Stream, ATextOfAnyLengthThroughTheDemoModel) {
#ifdef NDEBUG
  constexpr size_t n = kTokens;
#else
  constexpr size_t n = 3000;
  std::printf("an unoptimised build: %zu tokens instead of %zu\n", n, kTokens);
#endif
  const std::filesystem::path demo = std::filesystem::path(HUNCH_SOURCE_DIR) / "models" / "demo";
  const Engine engine = load_engine(demo / "hunch-demo.gguf", {.n_threads = 2});
  const Perplexities p = stream(engine, read_ids(engine, demo / "eval.txt", n));
  EXPECT_LT(p.streamed, 2 * p.fresh);
}

// Positions are rotations: a window reads as a text of its own, of what the model was trained on.
TEST(Stream, ATextOfAnyLengthThroughASmallLlama) {
  const auto model = shared_path("models/stories260K/stories260K.gguf"), text = shared_path("corpus/val.txt");
  if (!model || !text) GTEST_SKIP() << "needs the shared models/stories260K and corpus/val.txt";
  const Engine engine = load_engine(*model, {.n_threads = 2});
  const Perplexities p = stream(engine, read_ids(engine, *text, kTokens));
  EXPECT_NEAR(p.streamed, p.fresh, 0.05 * p.fresh);
  EXPECT_NEAR(p.streamed_end, p.whole_end, 0.05 * p.whole_end);
}

}  // namespace
}  // namespace hunch
