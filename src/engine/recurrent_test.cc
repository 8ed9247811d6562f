// Models whose layers keep a state: drafts, copies, batches and going back on them as on attention.
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "engine/answer.h"
#include "engine/context.h"
#include "engine/generate.h"
#include "engine/ngram_drafter.h"
#include "engine/speculate.h"
#include "model/golden_data.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

fs::path fixture(const std::string& name) { return fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / name; }

class RecurrentModel : public ::testing::TestWithParam<const char*> {
 protected:
  std::vector<int32_t> ids(size_t n, size_t seed = 1) const {
    std::vector<int32_t> out;
    for (size_t i = 0; i < n; ++i)
      out.push_back(int32_t((seed * 7919 + i * i * 31 + i * seed) % engine_.config().n_vocab));
    return out;
  }
  static std::vector<float> copy(std::span<const float> row) { return {row.begin(), row.end()}; }
  // The logits after each id, one step each.
  std::vector<std::vector<float>> one_by_one(Context& context, std::span<const int32_t> text) {
    std::vector<std::vector<float>> rows;
    for (size_t i = 0; i < text.size(); ++i) rows.push_back(copy(context.decode(text.subspan(i, 1))));
    return rows;
  }

  Engine engine_ = load_engine(fixture(GetParam()), {.n_threads = 2});
};

TEST_P(RecurrentModel, DraftsAreVerifiedAndTakenBackToTheBit) {
  const std::vector<int32_t> text = ids(50);
  Context alone(engine_, {.n_ctx = 64}), drafting(engine_, {.n_ctx = 64});
  alone.decode(std::span(text).first(1));
  drafting.decode(std::span(text).first(1));
  const auto want = one_by_one(alone, std::span(text).subspan(1));
  size_t at = 1;
  for (size_t round = 0; at + 8 < text.size(); ++round) {
    const size_t n_right = round % 6, n_wrong = (round * 5) % 4;  // of the draft, behind the newest token
    std::vector<int32_t> pass(text.begin() + long(at), text.begin() + long(at + 1 + n_right));
    for (size_t i = 0; i < n_wrong; ++i) pass.push_back(int32_t(i));
    const MatView<const float> rows = drafting.verify(pass);
    for (size_t i = 0; i <= n_right; ++i)
      ASSERT_EQ(std::memcmp(rows.row(i).data(), want[at - 1 + i].data(), rows.cols * sizeof(float)), 0)
          << "token " << at + i << ", round " << round;
    at += 1 + n_right;
    drafting.truncate(at);
  }
}

TEST_P(RecurrentModel, GoesBackToCheckpointsAndComputesTheRestAgain) {
  const std::vector<int32_t> prompt = ids(20), answer = ids(80, 3), other = ids(5, 9);
  Context context(engine_, {.n_ctx = 128}), fresh(engine_, {.n_ctx = 128});
  context.append(prompt);
  context.sequence().checkpoint();
  context.append(std::span(answer).first(3));
  one_by_one(context, std::span(answer).subspan(3));
  EXPECT_EQ(context.n_tokens(), 100u);
  EXPECT_EQ(context.go_back(26), 20u);
  EXPECT_EQ(context.n_tokens(), 20u);
  fresh.append(prompt);
  EXPECT_EQ(copy(context.decode(std::span(other).first(1))), copy(fresh.decode(std::span(other).first(1))));

  context.append(answer);
  context.truncate(7);  // nothing is kept of there
  EXPECT_EQ(context.n_tokens(), 7u);
  fresh.truncate(0);
  fresh.append(std::span(prompt).first(7));
  EXPECT_EQ(copy(context.decode(std::span(other).first(1))), copy(fresh.decode(std::span(other).first(1))));
}

TEST_P(RecurrentModel, AnswersInABatchAreThoseOfEachAlone) {
  std::vector<std::vector<int32_t>> prompts;
  for (size_t i = 0; i < 5; ++i) prompts.push_back(ids(3 + 9 * i, i + 1));
  GenerateOptions options;
  options.n_tokens = 12;
  options.ignore_end = true;
  options.as_alone = true;
  options.sampler.temperature = 0;
  std::vector<std::vector<int32_t>> want;
  for (const auto& prompt : prompts) {
    Context context(engine_, {.n_ctx = 64});
    want.push_back(generate(context, prompt, options).ids);
  }
  Batch batch(engine_, BatchOptions{.n_tokens = 5 * 64, .n_sequences = 5, .step_tokens = 16});
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<std::shared_ptr<Answer>> answers;
  for (const auto& prompt : prompts) {
    sequences.push_back(batch.new_sequence({.plan = nullptr, .n_ctx = 64}));
    answers.push_back(batch.admit(*sequences.back(), prompt, options));
    batch.step();
  }
  while (batch.step()) {
  }
  for (size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(answers[i]->generated().ids, want[i]) << i;
}

// What decides is the model itself: drafts change no token, and longer ones than can be taken back are not asked for.
TEST_P(RecurrentModel, SpeculationChangesNothing) {
  const std::vector<int32_t> prompt = {5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8};
  GenerateOptions options;
  options.n_tokens = 40;
  options.ignore_end = true;
  options.sampler.temperature = 0;
  Context plain(engine_, {.n_ctx = 64}), drafted(engine_, {.n_ctx = 64});
  const std::vector<int32_t> want = generate(plain, prompt, options).ids;
  Speculation speculation(6);
  speculation.add(std::make_unique<NgramDrafter>());
  options.speculation = &speculation;
  EXPECT_EQ(generate(drafted, prompt, options).ids, want);
  EXPECT_GT(speculation.stats()[0].n_drafted, 0u);
}

INSTANTIATE_TEST_SUITE_P(Models, RecurrentModel,
                         ::testing::Values("tiny_lfm2", "tiny_nemotronh", "tiny_nemotronhmoe", "tiny_qwen3next",
                                           "tiny_qwen35"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace hunch
