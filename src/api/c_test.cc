// The C API against the C++ one.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "hunch/generate.h"
#include "hunch/hunch.h"

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

TEST_F(CApi, SessionsChatsAndBatchesAnswer) {
  const std::string whole = generated("Once upon a time");
  hunch_session* session = hunch_session_new(model, nullptr);
  ASSERT_TRUE(session) << hunch_last_error();
  hunch_answer* answer = hunch_session_generate(session, "Once upon a time", &options, nullptr, nullptr);
  EXPECT_EQ(hunch_answer_text(answer), whole);
  hunch_answer_free(answer);
  EXPECT_EQ(hunch_session_truncate(session, 2), 0);
  EXPECT_EQ(hunch_session_n_tokens(session), 2u);
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

}  // namespace
