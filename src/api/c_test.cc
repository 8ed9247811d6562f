// The C API against the C++ one.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "hunch/activations.h"
#include "hunch/embed.h"
#include "hunch/evaluate.h"
#include "hunch/generate.h"
#include "hunch/hunch.h"
#include "io/test_bytes.h"

namespace {

const char* const kDemo = HUNCH_SOURCE_DIR "/models/demo/hunch-demo.gguf";

class CApi : public testing::Test {
 protected:
  void SetUp() override {
    hunch_load_options load;
    hunch_load_options_init(&load);
    load.n_threads = 1;
    load.n_ctx = 256;
    model = hunch_load(kDemo, &load);
    ASSERT_TRUE(model) << hunch_last_error();
    hunch_generation_options_init(&options);
    options.n_tokens = 8;
    options.temperature = 0;
  }
  void TearDown() override { hunch_free(model); }

  std::string generated(const char* prompt) {
    char* text = hunch_generate(model, prompt, &options, nullptr, nullptr);
    if (!text) return std::string("error: ") + hunch_last_error();
    std::string copy = text;
    hunch_free_string(text);
    return copy;
  }

  hunch_model* model = nullptr;
  hunch_generation_options options;
};

TEST_F(CApi, GeneratesWhatTheCppApiDoes) {
  hunch::LanguageModel same(kDemo, {.n_threads = 1, .n_ctx = 256});
  EXPECT_EQ(generated("Once upon a time"),
            hunch::generate(same, "Once upon a time", {.n_tokens = 8, .temperature = 0}).text);
}

TEST_F(CApi, AnAnswerSaysAllThatIsKnown) {
  options.n_top_log_probs = 2;
  hunch_answer* answer = hunch_answer_prompt(model, "Once upon a time", &options, nullptr, nullptr);
  ASSERT_TRUE(answer) << hunch_last_error();
  EXPECT_EQ(hunch_answer_n_tokens(answer), 8u);
  EXPECT_LE(hunch_answer_log_probs(answer)[0], 0);
  int32_t ids[2];
  float log_probs[2];
  EXPECT_EQ(hunch_answer_top(answer, 0, ids, log_probs, 2), 2u);
  EXPECT_EQ(ids[0], hunch_answer_ids(answer)[0]);
  EXPECT_GE(log_probs[0], log_probs[1]);
  hunch_answer_info info;
  hunch_answer_info_get(answer, &info);
  EXPECT_STREQ(info.stop_reason, "length");
  hunch_answer_free(answer);
}

TEST_F(CApi, FieldsThatTheCallerDoesNotKnowHaveTheirDefaults) {
  const std::string whole = generated("Once upon a time");
  options.size = offsetof(hunch_generation_options, stop);
  options.n_stop = 1;  // beyond what the size says
  options.lossless = 1;
  EXPECT_EQ(generated("Once upon a time"), whole);
  for (const size_t size : {size_t(0), sizeof(options) + 1}) {
    options.size = size;
    EXPECT_TRUE(generated("Once").starts_with("error: the options say a wrong size"));
  }
  // An init fills no more than the caller has.
  std::vector<unsigned char> bytes(sizeof(hunch_load_options), 0xAB);
  const size_t known = offsetof(hunch_load_options, plan);
  hunch_load_options_init_sized(reinterpret_cast<hunch_load_options*>(bytes.data()), known);
  EXPECT_EQ(bytes[known], 0xAB);
}

TEST_F(CApi, StopStringsAndPlansGetThrough) {
  const std::string whole = generated("Once upon a time");
  const std::string end = whole.substr(whole.size() - 3);
  const char* stops[] = {end.c_str()};
  options.stop = stops;
  options.n_stop = 1;
  EXPECT_EQ(generated("Once upon a time"), whole.substr(0, whole.find(end)));
  options.plan = "nonsense";
  EXPECT_TRUE(generated("Once").starts_with("error: "));
  options.plan = nullptr;
  options.density = 0.5;
  EXPECT_TRUE(generated("Once").starts_with("error: a density"));
}

TEST_F(CApi, KeyPoliciesCacheTypesAndAdaptersGetThrough) {
  const std::string whole = generated("Once upon a time");
  options.kv_policy = "h2o:2";
  EXPECT_NE(generated("Once upon a time"), whole);
  options.kv_policy = "nonsense";
  EXPECT_NE(generated("Once upon a time").find("nonsense"), std::string::npos);
  options.kv_policy = nullptr;
  const char* nowhere[] = {"/nowhere.gguf"};
  options.adapters = nowhere;
  EXPECT_EQ(generated("Once upon a time"), whole) << "a list of none";
  options.n_adapters = 1;
  EXPECT_NE(generated("Once upon a time").find("/nowhere.gguf"), std::string::npos);
  options.adapters = nullptr;
  EXPECT_EQ(generated("Once upon a time"), "error: the list of adapters is NULL");

  hunch_load_options load;
  hunch_load_options_init(&load);
  EXPECT_STREQ(load.kv, "f16");
  load.n_threads = 1;
  load.kv = "nonsense";
  EXPECT_FALSE(hunch_load(kDemo, &load));
  EXPECT_NE(std::string(hunch_last_error()).find("expected one of f32, f16, q8_0, q4_0"), std::string::npos);
}

TEST_F(CApi, ValuesAreThoseOfTheCppApi) {
  hunch::LanguageModel same(kDemo, {.n_threads = 1, .n_ctx = 256});
  hunch_model_info info;
  hunch_model_info_get(model, &info);
  EXPECT_STREQ(info.architecture, "opt");
  EXPECT_EQ(info.n_vocab, hunch_n_vocab(model));
  EXPECT_EQ(info.has_tokenizer, 1);
  const std::vector<int32_t> ids = same.tokenize("Once upon a time");
  std::vector<int32_t> got(16);
  ASSERT_EQ(hunch_tokenize(model, "Once upon a time", 1, got.data(), got.size()), int64_t(ids.size()));
  got.resize(ids.size());
  EXPECT_EQ(got, ids);

  hunch_evaluation_options sparse;
  hunch_evaluation_options_init(&sparse);
  sparse.plan = "sparse";
  sparse.density = 0.2;
  std::vector<float> logits(ids.size() * info.n_vocab), states(ids.size() * info.n_embd);
  ASSERT_EQ(hunch_logits(model, ids.data(), ids.size(), &sparse, logits.data()), 0) << hunch_last_error();
  const hunch::PlanChoice plan{.name = "sparse", .density = 0.2};
  EXPECT_EQ(logits, hunch::logits(same, ids, {.plan = plan}).values);
  sparse.max_tokens = 3;
  EXPECT_EQ(hunch_perplexity(model, "Once upon a time", &sparse),
            hunch::perplexity(same, "Once upon a time", {.max_tokens = 3, .plan = plan}).perplexity);
  ASSERT_EQ(hunch_hidden_states(model, ids.data(), ids.size(), nullptr, states.data()), 0) << hunch_last_error();
  EXPECT_EQ(states, hunch::hidden_states(same, ids).values);
}

TEST_F(CApi, ACancelledAnswerKeepsWhatIsThere) {
  hunch_cancel* cancel = hunch_cancel_new();
  options.cancel = cancel;
  const auto request = [](const char*, void* user) {
    hunch_cancel_request(static_cast<hunch_cancel*>(user));
    return 1;
  };
  hunch_answer* answer = hunch_answer_prompt(model, "Once upon a time", &options, request, cancel);
  ASSERT_TRUE(answer) << hunch_last_error();
  EXPECT_LT(hunch_answer_n_tokens(answer), 8u);
  hunch_answer_info info;
  hunch_answer_info_get(answer, &info);
  EXPECT_STREQ(info.stop_reason, "interrupted");
  hunch_answer_free(answer);
  hunch_cancel_clear(cancel);
  EXPECT_EQ(generated("Once").substr(0, 5) == "error", false);
  hunch_cancel_free(cancel);
}

TEST_F(CApi, SessionsChatsAndBatchesAnswer) {
  const std::string whole = generated("Once upon a time");
  hunch_session* session = hunch_session_new(model, nullptr);
  ASSERT_TRUE(session) << hunch_last_error();
  hunch_answer* answer = hunch_session_generate(session, "Once upon a time", &options, nullptr, nullptr);
  EXPECT_EQ(hunch_answer_text(answer), whole);
  hunch_answer_free(answer);
  EXPECT_EQ(hunch_session_truncate(session, 2), 0);
  EXPECT_EQ(hunch_session_n_tokens(session), 2u);
  EXPECT_EQ(hunch_session_n_ctx(session), 256u);
  const std::vector<int32_t> kept(hunch_session_ids(session), hunch_session_ids(session) + 2);
  hunch_session_free(session);
  session = hunch_session_new(model, nullptr);
  EXPECT_EQ(hunch_session_read_ids(session, kept.data(), 2), 0);
  EXPECT_EQ(hunch_session_read(session, " a dog"), 0);
  answer = hunch_session_generate_ids(session, nullptr, 0, &options, nullptr, nullptr);
  EXPECT_EQ(hunch_answer_n_tokens(answer), 8u) << hunch_last_error();
  hunch_answer_free(answer);
  hunch_session_free(session);

  hunch_chat_options chat_options;
  hunch_chat_options_init(&chat_options);
  chat_options.template_file = "plain";
  hunch_chat* chat = hunch_chat_new(model, &chat_options);
  ASSERT_TRUE(chat) << hunch_last_error();
  answer = hunch_chat_say(chat, "Hello.", &options, nullptr, nullptr);
  EXPECT_TRUE(answer) << hunch_last_error();
  hunch_answer_free(answer);
  EXPECT_EQ(hunch_chat_set_system(chat, "Be kind."), 0);
  EXPECT_EQ(hunch_chat_reset(chat), 0);
  char* messages = hunch_chat_messages(chat);
  EXPECT_STREQ(messages, R"([{"role":"system","content":"Be kind."}])");
  hunch_free_string(messages);
  hunch_chat_free(chat);

  hunch_batch* batch = hunch_batch_new(model, nullptr);
  ASSERT_TRUE(batch) << hunch_last_error();
  options.as_alone = 1;
  const int64_t number = hunch_batch_add(batch, "Once upon a time", &options, nullptr, nullptr);
  EXPECT_EQ(hunch_batch_is_done(batch, number), 0);
  while (hunch_batch_step(batch) == 1) {
  }
  answer = hunch_batch_result(batch, number);
  ASSERT_TRUE(answer) << hunch_last_error();
  EXPECT_EQ(hunch_answer_text(answer), whole);
  hunch_answer_free(answer);
  EXPECT_EQ(hunch_batch_is_done(batch, 99), -1);
  EXPECT_EQ(hunch_batch_remove(batch, number), 0);
  EXPECT_EQ(hunch_batch_result(batch, number), nullptr);
  hunch_batch_free(batch);
}

TEST_F(CApi, EmbedsToLength1) {
  std::vector<float> state(hunch_n_embd(model));
  ASSERT_EQ(hunch_embed(model, "The cat", nullptr, state.data()), 0) << hunch_last_error();
  double squares = 0;
  for (const float v : state) squares += double(v) * v;
  EXPECT_NEAR(squares, 1, 1e-4);
}

TEST_F(CApi, FailuresSayWhy) {
  EXPECT_EQ(hunch_load("/nonexistent.gguf", nullptr), nullptr);
  EXPECT_NE(std::strlen(hunch_last_error()), 0u);
  hunch_calibration made;
  EXPECT_EQ(hunch_calibrate(model, "Too short.", nullptr, &made), -1);
  EXPECT_NE(std::strlen(hunch_last_error()), 0u);
}

TEST_F(CApi, LikelihoodsAndActivationsAreThoseOfCxx) {
  hunch_scorer* scorer = hunch_scorer_new(model, nullptr);
  ASSERT_TRUE(scorer) << hunch_last_error();
  hunch::LanguageModel other(kDemo, {.n_threads = 1, .n_ctx = 256});
  const hunch::Likelihood expected = hunch::LikelihoodScorer(other).score("Once upon a", " time");
  double found = 0;
  int greedy = -1;
  EXPECT_EQ(hunch_score(scorer, "Once upon a", " time", &found, &greedy), 0);
  EXPECT_NEAR(found, expected.log_likelihood, 1e-4);
  EXPECT_EQ(greedy, int(expected.greedy));
  const std::vector<int32_t> ids = other.tokenize("Once upon a time", false);
  EXPECT_EQ(hunch_score_ids(scorer, ids.data(), 3, ids.data() + 3, 1, &found, nullptr), 0);
  EXPECT_NEAR(found, expected.log_likelihood, 1e-4);
  EXPECT_EQ(hunch_score(scorer, "Once", "", &found, nullptr), -1);
  EXPECT_EQ(hunch_score(scorer, nullptr, "a", &found, nullptr), -1);
  hunch_scorer_free(scorer);

  hunch_activations* seen = hunch_activations_new(model, ids.data(), ids.size(), nullptr);
  ASSERT_TRUE(seen) << hunch_last_error();
  const hunch::Activations all = hunch::activations(other, ids);
  hunch_layer_activations layer;
  EXPECT_EQ(hunch_activations_layer(seen, 1, &layer), 0);
  ASSERT_EQ(layer.n_ff, all.layers[1].n_ff);
  EXPECT_TRUE(std::equal(all.layers[1].activations.begin(), all.layers[1].activations.end(), layer.activations));
  EXPECT_EQ(layer.router, nullptr);
  EXPECT_EQ(hunch_activations_layer(seen, 1000, &layer), -1);
  EXPECT_EQ(hunch_activations_new(model, nullptr, 0, nullptr), nullptr);
  hunch_activations_free(seen);
}

TEST_F(CApi, Quantises) {
  const hunch::TempDir dir("c_quantize");
  hunch_quantize_options wanted;
  hunch_quantize_options_init(&wanted);
  wanted.type = "q4_0";
  wanted.n_threads = 1;
  const std::string out = (dir.path / "q4.gguf").string();
  double bits = 0;
  EXPECT_EQ(hunch_quantize(kDemo, out.c_str(), &wanted, &bits), 0) << hunch_last_error();
  EXPECT_NEAR(bits, 4.9, 0.3);
  EXPECT_EQ(hunch_quantize(kDemo, out.c_str(), &wanted, nullptr), -1);
  EXPECT_NE(std::string(hunch_last_error()).find("there already"), std::string::npos);
}

}  // namespace
