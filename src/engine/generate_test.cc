#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/generate.h"
#include "engine/oracle.h"
#include "measure/perplexity.h"
#include "model/golden_data.h"
#include "text/hf_tokenizer.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

fs::path fixture(const char* name) { return fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / name; }

class GenerateTest : public ::testing::Test {
 protected:
  Engine engine_ = load_engine(fixture("opt_sparse"), {.n_threads = 2});
  GoldenData golden_{fixture("opt_sparse") / "golden"};
  const std::vector<int32_t>& prompt() const { return golden_.sequences[1].ids; }
};

GenerateOptions greedy(size_t n) {
  GenerateOptions o;
  o.n_tokens = n;
  o.sampler.temperature = 0;
  return o;
}

TEST_F(GenerateTest, GreedyContinuationIsTheGoldenOne) {
  Context context(engine_, {});
  size_t n_seen = 0;
  const Generated g = generate(context, prompt(), greedy(24), [&](const GeneratedToken& t) {
    EXPECT_LE(t.log_prob, 0);
    ++n_seen;
    return true;
  });
  EXPECT_EQ(g.ids, golden_.sequences[1].greedy);
  EXPECT_EQ(g.stop_reason, StopReason::kLength);
  EXPECT_EQ(n_seen, 24u);
  EXPECT_EQ(g.n_prompt, prompt().size());
  EXPECT_EQ(g.stats.n_tokens, 23u);  // the last token is not read
}

// A control token adds nothing to the text, but people name it by its own.
TEST_F(GenerateTest, AControlTokenStopsByItsText) {
  const std::vector<int32_t>& ids = golden_.sequences[1].greedy;
  const auto at = size_t(std::ranges::find_if(ids, [&](int32_t id) { return id != ids[0]; }) - ids.begin());
  ASSERT_LT(at, ids.size());
  TokenizerSpec spec = *tokenizer_spec_from_hf_folder(
      std::filesystem::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "tokenizers" / "bpe", "opt", "");
  pad_vocabulary(spec, engine_.config().n_vocab);
  spec.pieces[size_t(ids[at])] = "<|user|>";
  spec.types[size_t(ids[at])] = TokenType::kControl;
  engine_.tokenizer.emplace(std::move(spec));
  Context context(engine_, {});
  GenerateOptions options = greedy(24);
  options.ignore_end = true;
  EXPECT_EQ(generate(context, prompt(), options).ids, ids);
  context.truncate(0);
  options.stop = {"<|user|>"};
  const Generated stopped = generate(context, prompt(), options);
  EXPECT_EQ(stopped.stop_reason, StopReason::kStopString);
  EXPECT_EQ(stopped.ids, std::vector<int32_t>(ids.begin(), ids.begin() + ptrdiff_t(at)));
}

TEST_F(GenerateTest, TheCallbackStopsAndAFullContextStops) {
  Context context(engine_, {.n_ctx = 20});
  const Generated stopped = generate(context, prompt(), greedy(24), [](const GeneratedToken&) { return false; });
  EXPECT_EQ(stopped.ids.size(), 1u);
  EXPECT_EQ(stopped.stop_reason, StopReason::kInterrupted);
  context.truncate(0);
  const Generated full = generate(context, prompt(), greedy(24));
  EXPECT_EQ(full.stop_reason, StopReason::kContextFull);
  EXPECT_EQ(full.ids.size(), 4u);  // 17 + 3 read, and the one after them
  EXPECT_EQ(std::vector(golden_.sequences[1].greedy.begin(), golden_.sequences[1].greedy.begin() + 4), full.ids);
  context.truncate(0);
  const std::vector<int32_t> long_prompt(21, 5);
  EXPECT_THROW(generate(context, long_prompt, greedy(1)), Error);
  EXPECT_EQ(context.n_tokens(), 0u);
  EXPECT_THROW(generate(context, {}, greedy(1)), Error);
}

TEST_F(GenerateTest, ALearnedTableLimitsTheContext) {
  EXPECT_THROW(Context(engine_, {.n_ctx = 129}), Error);
  EXPECT_THROW(Context(engine_, {.oracle_density = 0}), Error);
}

// The sliding protocol against the definition: every token once, with its window's context.
TEST_F(GenerateTest, PerplexityScoresEveryTokenOnce) {
  const std::vector<int32_t>& ids = golden_.sequences[2].ids;
  const Perplexity whole = perplexity(engine_, {}, ids, {.n_ctx = 64, .stride = 64});
  EXPECT_EQ(whole.n_tokens, ids.size() - 1);
  const double golden_nll = golden_.json().at("sequences").at(2).at("nll_sum");
  EXPECT_NEAR(whole.nll, golden_nll, 1e-3);
  EXPECT_NEAR(whole.perplexity, std::exp(golden_nll / 63), 1e-3);

  double nll = 0;
  size_t scored_to = 1;
  for (size_t begin = 0; scored_to < ids.size(); begin += 5) {
    const size_t end = std::min(begin + 16, ids.size());
    Context context(engine_, {.n_ctx = 16});
    context.append_all(std::span(ids).subspan(begin, end - begin), [&](size_t first, MatView<const float> logits) {
      for (size_t i = 0; i < logits.rows; ++i)
        if (const size_t p = begin + first + i + 1; p >= scored_to && p < end) nll -= log_prob(logits.row(i), ids[p]);
    });
    scored_to = std::max(scored_to, end);
  }
  const Perplexity sliding = perplexity(engine_, {}, ids, {.n_ctx = 16, .stride = 5});
  EXPECT_EQ(sliding.n_tokens, ids.size() - 1);
  EXPECT_NEAR(sliding.nll, nll, 1e-3);
  EXPECT_THROW(perplexity(engine_, {}, std::span(ids).first(1), {}), Error);
  EXPECT_THROW(perplexity(engine_, {}, ids, {.n_ctx = 16, .stride = 17}), Error);
}

TEST_F(GenerateTest, TheOracleAtFullDensityIsDenseAndBelowItIsNot) {
  const std::vector<int32_t>& ids = golden_.sequences[2].ids;
  const auto nll = [&](double density) {
    return perplexity(engine_, {.oracle_density = density, .oracle_head_density = density}, ids, {.n_ctx = 64}).nll;
  };
  const double dense = nll(1.0);
  EXPECT_NEAR(nll(0.999), dense, 1e-3);  // rounds up to every neuron and head
  EXPECT_GT(std::abs(nll(0.02) - dense), 1e-3);
  Context context(engine_, {.oracle_density = 0.25, .oracle_head_density = 0.25});
  context.append(ids);
  const StepStats& s = context.stats();
  EXPECT_EQ(s.n_tokens, ids.size());  // the first pass is not counted
  for (size_t l = 0; l < engine_.config().n_layer; ++l) {
    EXPECT_LE(s.active_neurons[l], s.all_neurons[l] / 4);
    EXPECT_EQ(s.active_heads[l], s.all_heads[l] / 4);
  }
}

}  // namespace
}  // namespace hunch
