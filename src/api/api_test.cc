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

TEST_F(Api, ASessionGoesOnAfterTheEndOfAText) {
  const std::vector<int32_t> end = model.tokenize("</s>", false, true);
  ASSERT_EQ(end.size(), 1u);
  Session session(model);
  GenerationOptions ends = greedy(8);
  ends.logit_bias[end[0]] = 1000;
  session.read("Once upon a time");
  EXPECT_EQ(session.generate("", greedy(3)).ids.size(), 3u);
  EXPECT_EQ(session.generate("", ends).stop_reason, "end_of_text");
  EXPECT_EQ(session.generate("", greedy(4)).ids, [&] {
    const std::vector<int32_t> whole = generate(model, "Once upon a time", greedy(7)).ids;
    return std::vector<int32_t>(whole.begin() + 3, whole.end());
  }());
  session.generate("", greedy(0));
  EXPECT_EQ(session.generate("", greedy(2)).ids.size(), 2u);
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
  sparse.plan = PlanChoice{.name = "sparse", .density = 0.4};
  EXPECT_NEAR(generate(model, "Once upon a time", sparse).density, 0.4, 0.1);
  sparse.plan = PlanChoice{.name = "dense"};
  EXPECT_LT(generate(model, "Once upon a time", sparse).density, 0.2) << "those that are not zero";
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
  for (const TokenLogProb& p : g.top_log_probs[0])
    EXPECT_NEAR(p.log_prob, double(last[size_t(p.id)]) - std::log(sum), 1e-3);
  options.log_probs = false;
  EXPECT_THROW(generate(model, "Once upon a", options), Error);
  options.n_top_log_probs = 0;
  EXPECT_TRUE(generate(model, "Once upon a", options).log_probs.empty());
}

TEST_F(Api, StopStringsEndAnAnswerAndAreNeverShown) {
  const Generation whole = generate(model, "Once upon a time", greedy(20));
  GenerationOptions options = greedy(20);
  options.stop = {"not in there", whole.text.substr(12, 5)};
  std::string shown;
  const Generation g = generate(model, "Once upon a time", options, [&](std::string_view piece) {
    shown += piece;
    return true;
  });
  EXPECT_EQ(g.stop_reason, "stop_string");
  EXPECT_EQ(g.text, whole.text.substr(0, whole.text.find(options.stop[1])));
  EXPECT_EQ(shown, g.text);
  EXPECT_EQ(g.log_probs.size(), g.ids.size());
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

TEST_F(Api, ACancelEndsWhatIsReadToo) {
  Cancel cancel;
  cancel.request();
  std::string text;
  for (int i = 0; i < 12; ++i) text += "Once upon a time there was a little girl. ";
  const std::vector<int32_t> ids = model.tokenize(text);
  const auto is_interrupted = [](const auto& call) {
    try {
      call();
    } catch (const Error& e) {
      return e.kind() == ErrorKind::kInterrupted;
    }
    return false;
  };
  EXPECT_TRUE(is_interrupted([&] { logits(model, ids, {.cancel = &cancel}); }));
  EXPECT_TRUE(is_interrupted([&] { perplexity(model, text, {.cancel = &cancel}); }));
  EXPECT_TRUE(is_interrupted([&] { hidden_states(model, ids, {.cancel = &cancel}); }));
  EXPECT_TRUE(is_interrupted([&] { embed(model, text, {.cancel = &cancel}); }));
  ChatSession chat(model, {.template_file = "plain"});
  GenerationOptions options = greedy(4);
  options.cancel = &cancel;
  EXPECT_TRUE(is_interrupted([&] { chat.say("Hello.", options); }));
  EXPECT_EQ(chat.messages_json(), "[]") << "the question is taken back";
  EXPECT_EQ(generate(model, "Once upon a time", options).stop_reason, "interrupted");
  cancel.clear();
  EXPECT_EQ(logits(model, ids, {.cancel = &cancel}).n_tokens, ids.size());
  EXPECT_EQ(chat.say("Hello.", options).generation.ids.size(), 4u);
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

TEST_F(Api, WhatIsWrongWithOneAnswerOfABatchEndsThatOne) {
  GenerationBatch batch(model, {.n_sequences = 3});
  Cancel cancel;
  GenerationOptions cancelled = greedy(40);
  cancelled.cancel = &cancel;
  const size_t a = batch.add("Once upon a time", greedy(12)), b = batch.add("The cat", cancelled),
               c = batch.add("The dog", greedy(12), [](std::string_view) -> bool { throw std::runtime_error("no"); });
  EXPECT_THROW(batch.add(std::vector<int32_t>{-1}, greedy(12)), Error);
  for (int i = 0; i < 4; ++i) batch.step();
  cancel.request();
  while (batch.step()) {
  }
  EXPECT_EQ(batch.result(a).ids.size(), 12u);
  EXPECT_EQ(batch.result(b).stop_reason, "interrupted");
  EXPECT_LT(batch.result(b).ids.size(), 12u);
  EXPECT_THROW(batch.result(c), std::runtime_error);
  const size_t removed = batch.add("A third", greedy(12));
  batch.step();
  batch.remove(removed);
  EXPECT_THROW(batch.is_done(removed), Error);
  EXPECT_FALSE(batch.step());
}

TEST_F(Api, ABatchVerifiesDrafts) {
  GenerationBatch batch(model, {.n_sequences = 2});
  GenerationOptions options = greedy(10);
  options.drafts.lossless = true;
  const size_t lossless = batch.add("Once upon a time", options);
  options.drafts = {.ngram = true};
  const size_t ngram = batch.add("Once upon a time", options);
  while (batch.step()) {
  }
  const std::vector<int32_t> plain = generate(model, "Once upon a time", greedy(10)).ids;
  EXPECT_EQ(batch.result(lossless).ids, plain);
  EXPECT_EQ(batch.result(ngram).ids, plain);
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
  const std::string text = "Once upon a time there was";
  const std::vector<float> mean = embed(model, text, {.pooling = Pooling::kMean, .normalize = false});
  double sum = 0;
  for (size_t t = 0; t < states.n_tokens; ++t) sum += states.row(t)[7];
  EXPECT_NEAR(mean[7], sum / double(states.n_tokens), 1e-4);
  double squares = 0;
  for (const float v : embed(model, text, {.pooling = Pooling::kLast})) squares += double(v) * v;
  EXPECT_NEAR(squares, 1, 1e-4);
  EXPECT_EQ(embed(model, text), embed(model, text, {.pooling = Pooling::kLast}))
      << "of a causal model that says nothing";
}

TEST_F(Api, CalibrationSaysWhatIsWrongAndStopsWhenAsked) {
  CalibrationOptions options;
  options.sidecar = std::filesystem::temp_directory_path() / "hunch_api_test.hunch";
  EXPECT_THROW(calibrate(model, "Too short.", options), Error);
  for (const auto& wrong : {CalibrationOptions{.predictor = "sphere"}, CalibrationOptions{.look_ahead = "sphere"},
                            CalibrationOptions{.head_look_ahead = "sphere"}, CalibrationOptions{.head_keys = "sphere"}})
    try {
      calibrate(model, "Too short.", wrong);
      FAIL() << "nobody knows what that is";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("'sphere'"), std::string::npos) << e.what();
    }
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
