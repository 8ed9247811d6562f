// Beams against a reference that computes every text anew, with neighbours, without room, and across kinds of models.
#include "engine/beam_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/test_steps.h"
#include "select/key_policies.h"

namespace hunch {
namespace {

// A dense Llama; a recurrent model, whose states are copied; a mixture.
class BeamSearchTest : public ::testing::TestWithParam<const char*> {
 protected:
  BeamOptions options(size_t width, size_t n_tokens, float penalty = 1) const {
    BeamOptions o;
    o.width = width, o.n_tokens = n_tokens, o.length_penalty = penalty;
    return o;
  }
  std::vector<Beam> search(const BeamOptions& o, size_t n_best, size_t most_prompt = 3) {
    const auto sequence = batch_.new_sequence({.plan = plan_, .n_ctx = kCtx});
    BeamSearch beams(engine_, batch_, *sequence, prompt_, o);
    while (beams.step(most_prompt)) {
    }
    return beams.best(n_best);
  }
  // Logits behind the prompt and `ids`, computed from the beginning.
  std::vector<float> logits(const std::vector<int32_t>& ids) {
    const auto sequence = batch_.new_sequence({.plan = plan_, .n_ctx = kCtx});
    if (plan_) return logits_one_by_one(*sequence, ids);
    std::vector<int32_t> text = prompt_;
    text.insert(text.end(), ids.begin(), ids.end());
    SequenceRun run{sequence.get(), text};
    run.n_logits = 1;
    const MatView<const float> row = batch_.compute({&run, 1});
    return {row.row(0).begin(), row.row(0).end()};
  }
  // What policies drop depends on the step in which a token came.
  std::vector<float> logits_one_by_one(Sequence& sequence, const std::vector<int32_t>& ids) {
    std::vector<float> last;
    const auto compute = [&](std::span<const int32_t> part, Phase phase) {
      SequenceRun run{&sequence, part, phase, 1};
      const MatView<const float> row = batch_.compute({&run, 1});
      last.assign(row.row(0).begin(), row.row(0).end());
    };
    compute(prompt_, Phase::kPrompt);
    for (size_t i = 0; i < ids.size(); ++i) compute(std::span(ids).subspan(i, 1), Phase::kDecode);
    return last;
  }
  // The definition: of all texts that the beams may go on with, the most probable.
  std::vector<Beam> reference(size_t width, size_t n_tokens) {
    std::vector<Beam> beams(1);
    for (size_t i = 0; i < n_tokens; ++i) {
      std::vector<Beam> next;
      for (const Beam& beam : beams) {
        const std::vector<float> row = logits(beam.ids);
        for (size_t id = 0; id < row.size(); ++id) {
          Beam longer = beam;
          longer.ids.push_back(int32_t(id));
          longer.log_prob += double(log_prob(row, int32_t(id)));
          next.push_back(std::move(longer));
        }
      }
      std::ranges::stable_sort(next, std::greater<>(), &Beam::log_prob);
      next.resize(width);
      beams = std::move(next);
    }
    return beams;
  }

  static constexpr size_t kCtx = 48;
  std::shared_ptr<const Plan> plan_;  // none: the default
  Engine engine_ = load_engine(golden_fixture(GetParam()), {.n_threads = 2});
  Batch batch_{engine_, {.n_tokens = 1024}};
  std::vector<int32_t> prompt_ = {5, 11, 7, 3, 9, 2, 8, 4};
};

TEST_P(BeamSearchTest, FindsWhatAReferenceFinds) {
  for (const size_t width : {1u, 2u, 5u}) {
    const std::vector<Beam> want = reference(width, 6), got = search(options(width, 6), width);
    ASSERT_EQ(got.size(), width);
    for (size_t i = 0; i < width; ++i) {
      EXPECT_EQ(got[i].ids, want[i].ids) << "width " << width << ", beam " << i;
      EXPECT_NEAR(got[i].log_prob, want[i].log_prob, 1e-3);
      EXPECT_NEAR(got[i].score, got[i].log_prob / 6, 1e-9);
      double sum = 0;
      for (const float own : got[i].log_probs) sum += double(own);
      EXPECT_NEAR(sum, got[i].log_prob, 1e-4);
    }
  }
}

TEST_P(BeamSearchTest, IsTheSameHoweverThePromptIsRead) {
  const std::vector<Beam> want = search(options(3, 8), 3);
  for (const size_t most : {1u, 100u}) {
    const std::vector<Beam> got = search(options(3, 8), 3, most);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(got[i].ids, want[i].ids);
  }
}

// Each beam keeps what it would keep alone; a text that streams goes on beyond the context.
TEST_P(BeamSearchTest, TextsDropTokensAsAlone) {
  for (const char* policy : {"h2o:8", "streaming:8", "snapkv:6,window=4,kernel=3"}) {
    SCOPED_TRACE(policy);
    Plan plan;
    plan.set_keys(engine_.config(), key_policy_from(policy));
    plan_ = std::make_shared<const Plan>(std::move(plan));
    const std::vector<Beam> want = reference(3, 8), got = search(options(3, 8), 3, 100);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(got[i].ids, want[i].ids) << "beam " << i;
      EXPECT_NEAR(got[i].log_prob, want[i].log_prob, 1e-3);
    }
    const Beam longest = search(options(2, 2 * kCtx), 1, 100)[0];
    const bool streams = plan_->keys->streams();
    EXPECT_EQ(longest.stop_reason, streams ? StopReason::kLength : StopReason::kContextFull);
    EXPECT_EQ(longest.ids.size(), streams ? 2 * kCtx : kCtx - prompt_.size() + 1);
  }
}

TEST_P(BeamSearchTest, GivesBackWhatItTook) {
  const size_t n_free = batch_.n_free_tokens();
  search(options(6, 10), 1);
  EXPECT_EQ(batch_.n_free_tokens(), n_free);
  {
    const auto sequence = batch_.new_sequence({.n_ctx = kCtx});
    BeamSearch beams(engine_, batch_, *sequence, prompt_, options(4, 30));
    for (int i = 0; i < 8; ++i) {
      const size_t n = batch_.n_free_tokens() / batch_.cache()->shape().page_tokens, due = beams.n_pages_due();
      beams.step(4);
      EXPECT_LE(n - std::min(n, batch_.n_free_tokens() / batch_.cache()->shape().page_tokens), due);
    }
    beams.end(StopReason::kInterrupted);
    const std::vector<Beam> best = beams.best(4);
    ASSERT_EQ(best.size(), 4u);
    EXPECT_EQ(best[0].stop_reason, StopReason::kInterrupted);
    EXPECT_FALSE(best[0].ids.empty());
  }
  EXPECT_EQ(batch_.n_free_tokens(), n_free);
}

TEST_P(BeamSearchTest, EndsWhereTheContextDoes) {
  const std::vector<Beam> best = search(options(3, 1000), 3);
  for (const Beam& beam : best) {
    EXPECT_EQ(beam.stop_reason, StopReason::kContextFull);
    EXPECT_EQ(beam.ids.size(), kCtx - prompt_.size() + 1);
  }
}

TEST_P(BeamSearchTest, RefusesWhatCannotBe) {
  const auto sequence = batch_.new_sequence({.n_ctx = kCtx});
  const auto make = [&](const BeamOptions& o) { BeamSearch(engine_, batch_, *sequence, prompt_, o); };
  EXPECT_THROW(make(options(0, 5)), Error);
  EXPECT_THROW(make(options(21, 5)), Error);
  EXPECT_THROW(make(options(2, 0)), Error);
  EXPECT_THROW(make(options(2, 5, NAN)), Error);
  prompt_.resize(kCtx + 1, 3);
  EXPECT_THROW(make(options(2, 5)), Error);
}

INSTANTIATE_TEST_SUITE_P(Models, BeamSearchTest, ::testing::Values("llama_mha", "tiny_lfm2", "qwen2_moe"),
                         [](const auto& info) { return std::string(info.param); });

// A model that ends its texts: the end counts as a token, and the penalty of lengths decides between short and long.
TEST(BeamSearchEnds, LengthsAreWeighed) {
  const Engine engine = load_engine(std::filesystem::path(HUNCH_SOURCE_DIR) / "models/demo/hunch-demo.gguf", {});
  Batch batch(engine, {.n_tokens = 2048});
  const std::vector<int32_t> prompt = engine.tokenizer->encode("The end of the story.", {});
  const auto best = [&](float penalty) {
    const auto sequence = batch.new_sequence({.n_ctx = 256});
    BeamOptions o;
    o.width = 4, o.n_tokens = 24, o.length_penalty = penalty;
    o.stop = {","};
    BeamSearch beams(engine, batch, *sequence, prompt, o);
    while (beams.step(64)) {
    }
    return beams.best(4);
  };
  const std::vector<Beam> shorter = best(-2), longer = best(6);
  EXPECT_LE(shorter[0].ids.size(), longer[0].ids.size());
  EXPECT_LT(shorter[0].ids.size(), 24u);
  EXPECT_EQ(shorter[0].stop_reason, StopReason::kStopString);
  EXPECT_EQ(shorter[0].stop_string, ",");
  for (const Beam& beam : longer) {
    const double length = double(beam.ids.size() + (beam.stop_reason == StopReason::kEndOfText));
    EXPECT_NEAR(beam.score, beam.log_prob / std::pow(length, 6), 1e-12);
  }
  EXPECT_TRUE(std::ranges::is_sorted(longer, std::greater<>(), &Beam::score));
}

}  // namespace
}  // namespace hunch
