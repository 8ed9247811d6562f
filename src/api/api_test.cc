// The public headers against the demo model: what one call says must agree with what another does.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "hunch/batch.h"
#include "hunch/calibrate.h"
#include "hunch/chat.h"
#include "hunch/embed.h"
#include "hunch/evaluate.h"
#include "hunch/session.h"

namespace hunch {
namespace {

const char* const kDemo = HUNCH_SOURCE_DIR "/models/demo/hunch-demo.gguf";

GenerationOptions greedy(size_t n_tokens) {
  GenerationOptions options;
  options.n_tokens = n_tokens;
  options.temperature = 0;
  return options;
}

class Api : public testing::Test {
 protected:
  LanguageModel model{kDemo, {.n_threads = 1, .n_ctx = 256}};
};

TEST_F(Api, ASessionGoesOnAsIfTheTextHadBeenGivenAtOnce) {
  const Generation whole = generate(model, "Once upon a time", greedy(12));
  Session session(model);
  const Generation first = session.generate("Once upon a time", greedy(5));
  const Generation second = session.generate("", greedy(7));
  EXPECT_EQ(first.text + second.text, whole.text);
  EXPECT_EQ(session.ids().size(), whole.n_prompt + 12);
}

TEST_F(Api, ASessionReadsAheadAndGoesBack) {
  const std::vector<int32_t> ids = model.tokenize("Once upon a time");
  const Generation whole = generate(model, "Once upon a time", greedy(6));
  Session session(model);
  session.read(ids);
  const Generation read = session.generate(std::span<const int32_t>(), greedy(6));
  EXPECT_EQ(read.ids, whole.ids);
  EXPECT_EQ(read.n_prompt, 1u);
  session.truncate(ids.size());
  EXPECT_EQ(session.generate(std::span<const int32_t>(), greedy(6)).ids, whole.ids);
}

TEST_F(Api, AFailedAnswerLeavesTheSessionAsItWas) {
  Session session(model);
  session.read("Once upon a time");
  const std::vector<int32_t> before(session.ids().begin(), session.ids().end());
  GenerationOptions wrong = greedy(4);
  wrong.top_p = 2;
  EXPECT_THROW(session.generate(" there", wrong), Error);
  EXPECT_TRUE(std::ranges::equal(session.ids(), before));
  EXPECT_EQ(session.generate("", greedy(4)).ids, generate(model, "Once upon a time", greedy(4)).ids);
}

TEST_F(Api, LosslessDraftsDoNotChangeTheAnswer) {
  GenerationOptions drafted = greedy(40);
  drafted.drafts.lossless = true;
  drafted.drafts.n_tokens = 4;
  const Generation got = generate(model, "Once upon a time", drafted);
  EXPECT_EQ(got.ids, generate(model, "Once upon a time", greedy(40)).ids);
  EXPECT_GT(got.n_accepted, 0u);
  EXPECT_LE(got.n_accepted, got.n_drafted);
}

TEST_F(Api, APlanBelongsToACall) {
  GenerationOptions sparse = greedy(20);
  sparse.plan = PlanChoice{.name = "sparse", .density = 0.2};
  const double density = generate(model, "Once upon a time", sparse).density;
  EXPECT_LT(density, 0.4);
  sparse.plan = PlanChoice{.name = "dense"};
  EXPECT_EQ(generate(model, "Once upon a time", sparse).density, 1);
  sparse.plan = PlanChoice{.name = "sparse", .sidecar = "/nonexistent.hunch"};
  EXPECT_THROW(generate(model, "Once upon a time", sparse), Error);
}

TEST_F(Api, LogProbabilitiesAgreeWithLogits) {
  GenerationOptions options = greedy(1);
  options.n_top_log_probs = 3;
  const Generation g = generate(model, "Once upon a", options);
  ASSERT_EQ(g.top_log_probs.size(), 1u);
  ASSERT_EQ(g.top_log_probs[0].size(), 3u);
  EXPECT_EQ(g.top_log_probs[0][0].id, g.ids[0]);
  const Logits all = logits(model, model.tokenize("Once upon a"));
  const std::span<const float> last = all.row(all.n_tokens - 1);
  double sum = 0;
  for (const float v : last) sum += std::exp(double(v));
  EXPECT_NEAR(g.log_probs[0], double(last[size_t(g.ids[0])]) - std::log(sum), 1e-3);
}

TEST_F(Api, ACancelledAnswerKeepsWhatIsThere) {
  Cancel cancel;
  GenerationOptions options = greedy(50);
  options.cancel = &cancel;
  size_t n_pieces = 0;
  const Generation g = generate(model, "Once upon a time", options, [&](std::string_view) {
    if (++n_pieces == 3) cancel.request();
    return true;
  });
  EXPECT_EQ(g.stop_reason, "interrupted");
  EXPECT_GE(g.ids.size(), 3u);
  EXPECT_LT(g.ids.size(), 50u);
}

TEST_F(Api, AnswersOfABatchAreThoseOfCalls) {
  GenerationBatch batch(model, {.n_sequences = 2});
  GenerationOptions first = greedy(10), second = greedy(6);
  first.as_alone = second.as_alone = true;
  second.plan = PlanChoice{.name = "sparse"};
  second.log_probs = false;
  const size_t a = batch.add("Once upon a time", first), b = batch.add("The cat", second);
  EXPECT_THROW(batch.add("A third", first), Error);
  EXPECT_THROW(batch.result(a), Error);
  while (batch.step()) {
  }
  ASSERT_TRUE(batch.is_done(a) && batch.is_done(b));
  EXPECT_EQ(batch.result(a).ids, generate(model, "Once upon a time", first).ids);
  EXPECT_EQ(batch.result(b).ids, generate(model, "The cat", second).ids);
  batch.remove(a);
  EXPECT_THROW(batch.result(a), Error);
}

TEST_F(Api, ABatchRefusesDraftsThatItCannotShare) {
  GenerationBatch batch(model, {.n_sequences = 1});
  GenerationOptions options = greedy(10);
  options.drafts.lossless = true;
  EXPECT_THROW(batch.add("Once upon a time", options), Error);
  options.drafts = {.ngram = true};
  const size_t number = batch.add("Once upon a time", options);
  while (batch.step()) {
  }
  EXPECT_EQ(batch.result(number).ids, generate(model, "Once upon a time", greedy(10)).ids);
}

TEST_F(Api, AChatRemembersWhatItComputed) {
  ChatSession chat(model, {.system = "Be kind.", .template_file = "plain"});
  std::string shown;
  const ChatAnswer first = chat.say("Hello.", greedy(8), [&](std::string_view piece) {
    shown += piece;
    return true;
  });
  EXPECT_EQ(first.n_cached, 0u);
  EXPECT_EQ(shown, first.generation.text);
  EXPECT_GT(chat.say("And you?", greedy(8)).n_cached, 5u);
  EXPECT_NE(chat.messages_json().find("And you?"), std::string::npos);
  chat.reset();
  EXPECT_EQ(chat.messages_json(), R"([{"role":"system","content":"Be kind."}])");
}

TEST_F(Api, AHiddenStateDependsOnWhatComesBeforeIt) {
  const std::vector<int32_t> ids = model.tokenize("Once upon a time there was");
  const HiddenStates states = hidden_states(model, ids);
  ASSERT_EQ(states.n_tokens, ids.size());
  ASSERT_EQ(states.n_embd, model.info().n_embd);
  const HiddenStates beginning = hidden_states(model, std::span(ids).first(3));
  for (size_t i = 0; i < states.n_embd; ++i) EXPECT_NEAR(states.row(2)[i], beginning.row(2)[i], 1e-3);
  const std::vector<float> mean = embed(model, "Once upon a time there was", {.normalize = false});
  double sum = 0;
  for (size_t t = 0; t < states.n_tokens; ++t) sum += states.row(t)[7];
  EXPECT_NEAR(mean[7], sum / double(states.n_tokens), 1e-4);
  double squares = 0;
  for (const float v : embed(model, "Once upon a time there was", {.pooling = Pooling::kLast}))
    squares += double(v) * v;
  EXPECT_NEAR(squares, 1, 1e-4);
}

TEST_F(Api, CalibrationSaysWhatIsWrongAndStopsWhenAsked) {
  CalibrationOptions options;
  options.sidecar = std::filesystem::temp_directory_path() / "hunch_api_test.hunch";
  EXPECT_THROW(calibrate(model, "Too short.", options), Error);
  std::string text;
  for (int i = 0; i < 400; ++i) text += "Once upon a time there was a little girl. ";
  Cancel cancel;
  options.cancel = &cancel;
  options.on_progress = [&](std::string_view, uint64_t, uint64_t) { cancel.request(); };
  try {
    calibrate(model, text, options);
    FAIL() << "nothing stopped it";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kInterrupted);
  }
  EXPECT_FALSE(std::filesystem::exists(options.sidecar));
  std::filesystem::remove_all(options.sidecar.string() + ".partial");
  EXPECT_EQ(generate(model, "Once", greedy(2)).ids.size(), 2u);  // the stop was that call's
}

}  // namespace
}  // namespace hunch
