#include "compress/screen_fit.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

// Exact logits and final states of some tokens.
struct Dense : Observer {
  void on_final(MatView<const float> x) override { states.insert(states.end(), x.data, x.data + x.rows * x.cols); }
  std::vector<float> states;
};

TEST(ScreenFit, ListsTheBestTokenOfTextItDidNotSee) {
  const Engine engine =
      load_engine(std::filesystem::path(HUNCH_SOURCE_DIR) / "models" / "demo" / "hunch-demo.gguf", {2});
  const std::vector<int32_t> ids = engine.need_tokenizer().encode(
      read_file(std::filesystem::path(HUNCH_SOURCE_DIR) / "models" / "demo" / "eval.txt"));
  ASSERT_GE(ids.size(), 2600u);
  const std::span<const int32_t> all(ids);
  const ScreenFit fit = fit_screen(engine, all.first(1000), all.subspan(1500, 300), all.subspan(2100, 100));
  EXPECT_LE(fit.bytes, fit.full_bytes);
  ASSERT_TRUE(fit.screen);
  EXPECT_LT(fit.bytes, 0.8 * fit.full_bytes);
  EXPECT_EQ(fit.n_checked, 100u);
  EXPECT_EQ(fit.n_same, 100u);
  ContextOptions options;
  options.mode = "dense";
  Context context(engine, options);
  Dense watch;
  context.set_observer(&watch);
  std::vector<size_t> best;
  context.append_all(all.subspan(2300, 200), [&](size_t, MatView<const float> logits) {
    for (size_t t = 0; t < logits.rows; ++t) best.push_back(argmax(logits.row(t)));
  });
  Compute compute(1);
  Rows shortlist;
  std::vector<float> guess(engine.config().n_vocab);
  size_t missed = 0;
  for (size_t t = 0; t < best.size(); ++t) {
    const std::span<const float> x = std::span(watch.states).subspan(t * fit.screen->n_in(), fit.screen->n_in());
    fit.screen->guess(compute, x, engine.model->weights().output->bias(), guess, shortlist);
    missed += !shortlist.is_all() && !std::ranges::binary_search(shortlist.ids(), uint32_t(best[t]));
  }
  EXPECT_EQ(missed, 0u);

  // Greedy answers are the same with it, for fewer bytes; who asks for log-probabilities gets the model's own.
  const auto answer = [&](std::shared_ptr<const VocabScreen> screen, bool log_probs, std::vector<float>& got) {
    Plan plan = Plan::exact(engine.config());
    plan.set_screen(std::move(screen));
    ContextOptions sparse;
    sparse.plan = std::make_shared<const Plan>(std::move(plan));
    Context c(engine, sparse);
    GenerateOptions greedy;
    greedy.n_tokens = 40;
    greedy.ignore_end = true;
    greedy.sampler.temperature = 0;
    greedy.log_probs = log_probs;
    return generate(c, all.first(20), greedy, [&](const GeneratedToken& token) {
      got.push_back(token.log_prob);
      return true;
    });
  };
  std::vector<float> plain_log_probs, log_probs, none;
  const Generated plain = answer(nullptr, true, plain_log_probs), screened = answer(fit.screen, false, none),
                  asked = answer(fit.screen, true, log_probs);
  EXPECT_EQ(screened.ids, plain.ids);
  EXPECT_LT(screened.stats.weight_bytes, plain.stats.weight_bytes);
  EXPECT_EQ(asked.stats.weight_bytes, plain.stats.weight_bytes);
  EXPECT_EQ(log_probs, plain_log_probs);
  EXPECT_EQ(none[0], 0.0f);
}

}  // namespace
}  // namespace hunch
