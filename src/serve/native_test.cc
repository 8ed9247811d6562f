// llama.cpp's own completions: what is asked for, and how it is told.
#include <gtest/gtest.h>

#include "serve/native_answer.h"
#include "serve/native_request.h"
#include "serve/request_error.h"
#include "serve/test_reply.h"
#include "text/hf_tokenizer.h"

namespace hunch::serve {
namespace {

std::string refused(const std::string& fields) {
  try {
    native_request("{\"prompt\": \"a\", " + fields + "}");
    return "-";
  } catch (const RequestError& e) {
    return e.param();
  }
}

TEST(NativeRequest, HasLlamaCppsNamesAndDefaults) {
  const NativeRequest plain = native_request(R"({"prompt": "a"})");
  EXPECT_FLOAT_EQ(plain.settings.sampler.temperature, 0.8f);
  EXPECT_EQ(plain.settings.sampler.top_k, 40);
  EXPECT_FLOAT_EQ(plain.settings.sampler.top_p, 0.95f);
  EXPECT_FLOAT_EQ(plain.settings.sampler.min_p, 0.05f);
  EXPECT_FALSE(plain.settings.n_tokens || plain.settings.seed || plain.settings.stream || plain.is_list);
  EXPECT_EQ(plain.echoed["n_predict"], -1);
  const NativeRequest r = native_request(
      R"({"prompt": "a", "n_predict": 7, "temperature": 0, "seed": 3, "n_probs": 2, "return_tokens": true, "stop": ["x"],
          "logit_bias": [[5, -2.5], [6, false]], "cache_prompt": false, "mode": "dense", "stream": true})");
  EXPECT_EQ(r.settings.n_tokens, 7u);
  EXPECT_EQ(r.settings.seed, 3u);
  EXPECT_EQ(r.settings.n_top_log_probs, 2u);
  EXPECT_TRUE(r.with_tokens && r.settings.log_probs && r.settings.stream && !r.settings.reuse_prompt);
  EXPECT_EQ(r.settings.sampler.logit_bias.at(5), -2.5f);
  EXPECT_EQ(r.settings.sampler.logit_bias.at(6), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(r.settings.mode, "dense");
}

TEST(NativeRequest, PromptsOfAllForms) {
  const auto prompts = [](const char* prompt) { return native_request(fmt::format(R"({{"prompt": {}}})", prompt)); };
  EXPECT_EQ(std::get<std::string>(prompts("\"ab\"").prompts[0][0]), "ab");
  const NativeRequest ids = prompts("[1, 2, 3]");
  EXPECT_EQ(std::get<1>(ids.prompts[0][0]), (std::vector<int32_t>{1, 2, 3}));
  EXPECT_FALSE(ids.is_list);
  const NativeRequest mixed = prompts(R"([12, 34, "text", 5])");
  ASSERT_EQ(mixed.prompts.size(), 1u);
  ASSERT_EQ(mixed.prompts[0].size(), 3u);
  EXPECT_EQ(std::get<0>(mixed.prompts[0][1]), "text");
  const NativeRequest list = prompts(R"(["a", [1, 2], ["b", 3]])");
  EXPECT_TRUE(list.is_list);
  ASSERT_EQ(list.prompts.size(), 3u);
  EXPECT_EQ(list.prompts[2].size(), 2u);
  for (const char* wrong :
       {"3", "[]", "null", "{\"prompt_string\": \"a\"}", "[1.5]", "[1, {}]", "[{}]", "[true, \"a\"]"})
    EXPECT_THROW(prompts(wrong), RequestError) << wrong;
}

TEST(NativeRequest, WhatIsWrongIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("n_predict": "7")", "n_predict"},
      {R"("n_predict": -3)", "n_predict"},
      {R"("mirostat": 2)", "mirostat"},
      {R"("mirostat": 0)", "-"},
      {R"("xtc_probability": 0.5)", "xtc_probability"},
      {R"("dry_multiplier": 0.8)", "dry_multiplier"},
      {R"("top_n_sigma": -1)", "-"},
      {R"("n_probs": 50)", "n_probs"},
      {R"("logit_bias": [["a", 1]])", "logit_bias"},
      {R"("logit_bias": [[1, true]])", "logit_bias"},
      {R"("post_sampling_probs": true)", "post_sampling_probs"},
      {R"("samplers": ["top_k"])", "-"},
  };
  for (const auto& [fields, field] : cases) EXPECT_EQ(refused(fields), field) << fields;
}

class NativeAnswerTest : public ::testing::Test {
 protected:
  NativeAnswerTest()
      : tokenizer_(*tokenizer_spec_from_hf_folder(
            std::filesystem::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "tokenizers" / "bpe", "bloom", "")) {}
  // Two tokens of each of n prompts, remembered in part.
  void answer(NativeAnswer::About about) {
    for (size_t i = 0; i < about.prompts.size(); ++i) {
      jobs_.push_back(std::make_shared<Job>());
      jobs_[i]->prompt = {1, 2, 3, 4};
    }
    about.n_prompt.assign(about.prompts.size(), 4);
    const auto writer = std::make_shared<NativeAnswer>(std::move(about), tokenizer_, reply_);
    writer->listen_to(jobs_);
    for (const auto& job : jobs_) {
      job->listener->on_begun(3);
      job->listener->on_token({5, "x\n", -0.5f, {{5, -0.5f}, {6, -1}}}, false);
      job->listener->on_token({6, "y", -0.25f, {{6, -0.25f}}}, false);
      JobResult result;
      result.generated.ids = {5, 6};
      result.generated.n_prompt = 4;
      result.generated.stop_reason = StopReason::kStopString;
      result.generated.stop_string = "z";
      result.generated.seconds = 0.5;
      job->listener->on_done(result);
    }
  }

  const Tokenizer tokenizer_;
  std::shared_ptr<TestReply> reply_ = std::make_shared<TestReply>();
  std::vector<std::shared_ptr<Job>> jobs_;
};

TEST_F(NativeAnswerTest, OneObject) {
  answer({.model = "m", .with_tokens = true, .with_probabilities = true, .settings = {{"top_k", 1}}, .prompts = {"p"}});
  const Json a = Json::parse(reply_->response.body);
  EXPECT_EQ(a["content"], "x\ny");
  EXPECT_EQ(a["tokens"], (Json{5, 6}));
  EXPECT_EQ(a["stop"], true);
  EXPECT_EQ(a["stop_type"], "word");
  EXPECT_EQ(a["stopping_word"], "z");
  EXPECT_EQ(a["has_new_line"], true);
  EXPECT_EQ(a["tokens_predicted"], 2);
  EXPECT_EQ(a["tokens_evaluated"], 4);
  EXPECT_EQ(a["tokens_cached"], 3);
  EXPECT_EQ(a["timings"]["prompt_n"], 1);
  EXPECT_EQ(a["timings"]["predicted_per_second"], 4);
  EXPECT_EQ(a["completion_probabilities"].size(), 2u);
  EXPECT_EQ(a["completion_probabilities"][0]["top_logprobs"][1]["id"], 6);
  EXPECT_EQ(a["generation_settings"]["top_k"], 1);
}

TEST_F(NativeAnswerTest, AListOfThem) {
  answer({.model = "m", .is_list = true, .prompts = {"p", "q"}});
  const Json a = Json::parse(reply_->response.body);
  ASSERT_EQ(a.size(), 2u);
  EXPECT_EQ(a[1]["index"], 1);
  EXPECT_EQ(a[1]["prompt"], "q");
  EXPECT_EQ(a[1]["tokens"], Json::array());
  EXPECT_FALSE(a[1].contains("completion_probabilities"));
}

TEST_F(NativeAnswerTest, AStreamWhoseLastEventHasTheRest) {
  answer({.model = "m", .stream = true, .prompts = {"p"}});
  const std::vector<Json> events = reply_->events();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0]["content"], "x\n");
  EXPECT_EQ(events[0]["stop"], false);
  EXPECT_EQ(events[1]["tokens"], Json{6});
  EXPECT_EQ(events[2]["content"], "");
  EXPECT_EQ(events[2]["stop"], true);
  EXPECT_EQ(events[2]["tokens_predicted"], 2);
  EXPECT_EQ(reply_->stream.find("[DONE]"), std::string::npos);
}

}  // namespace
}  // namespace hunch::serve
