// Requests for answers of a form and for calls of tools, without sockets, on a model that knows nothing: what comes is
// what was asked for, whatever the family's way to write it.
#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <set>

#include "serve/service.h"
#include "text/hf_tokenizer.h"

namespace hunch::serve {
namespace {

class Recorder : public Reply {
 public:
  void send(HttpResponse response) override {
    status = response.status;
    body = std::move(response.body);
    done_.set_value();
  }
  void begin_stream(std::string) override {}
  void write(std::string bytes) override { body += bytes; }
  void end() override { done_.set_value(); }
  void when_gone(std::function<void()>) override {}
  void post(std::function<void()> call) override { call(); }  // jobs of one request share the scheduler's thread
  void note(std::string, Json) override {}
  void wait() { done_.get_future().get(); }

  int status = 200;
  std::string body;

 private:
  std::promise<void> done_;
};

const char* const kTools = R"([{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object",
    "properties": {"text": {"type": "string", "maxLength": 5}, "n": {"type": "integer", "minimum": 1, "maximum": 30},
                   "kind": {"enum": ["a", "b"]}}, "required": ["text", "n", "kind"]}}}])";

class ServiceForms : public testing::Test {
 protected:
  ServiceForms() {
    const std::filesystem::path data = std::filesystem::path(HUNCH_SOURCE_DIR) / "tests" / "data";
    engine_ = load_engine(data / "golden" / "bloom_h6", {.n_threads = 1});
    spec_ = *tokenizer_spec_from_hf_folder(data / "tokenizers" / "bpe", "bloom", "");
    const size_t n = engine_.config().n_vocab;
    spec_.pieces.resize(n);
    spec_.types.resize(n);
    // Two marks are control tokens, as they are in the families' own vocabularies.
    spec_.pieces[n - 1] = "[TOOL_CALLS]";
    spec_.pieces[n - 2] = "<|message|>";
    spec_.types[n - 1] = spec_.types[n - 2] = TokenType::kControl;
    const std::set<std::string> left(spec_.pieces.begin(), spec_.pieces.end());
    std::erase_if(spec_.merges, [&](const std::string& merge) {
      const size_t space = merge.find(' ');
      return !left.contains(merge.substr(0, space) + merge.substr(space + 1)) ||
             !left.contains(merge.substr(0, space)) || !left.contains(merge.substr(space + 1));
    });
  }
  void begin(const std::string& chat_template) {
    service_.reset();
    spec_.chat_template = chat_template;
    engine_.tokenizer.emplace(spec_);
    ServiceOptions options;
    options.scheduler.n_ctx = 3000;
    options.scheduler.n_parallel = 2;
    service_ = std::make_unique<Service>(engine_, options, metrics_, responses_);
  }
  std::string ask(const char* path, const Json& body, int status = 200) {
    const auto reply = std::make_shared<Recorder>();
    service_->answer({.method = "POST", .path = path, .body = dump(body)}, reply);
    reply->wait();
    EXPECT_EQ(reply->status, status) << reply->body;
    return reply->body;
  }
  Json chat(uint64_t seed) {
    return {{"messages", Json::parse(R"([{"role": "user", "content": "?"}])")},
            {"temperature", 2},
            {"seed", seed},
            {"max_tokens", 900}};
  }

  Engine engine_;
  TokenizerSpec spec_;
  Metrics metrics_;
  StoredResponses responses_;
  std::unique_ptr<Service> service_;
};

// Shows the tools and, somewhere, what tells the family.
std::string source_with(const std::string& tells) {
  return "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}{# " +
         tells + " #}";
}

TEST_F(ServiceForms, ForcedCallsAreCallsInEveryFamily) {
  std::vector<std::string> sources = {"{% for m in messages %}{{ m.content }}{% endfor %}",
                                      source_with("[TOOL_CALLS] [ARGS]"), source_with("<｜tool▁call▁begin｜> ```json")};
  for (const ToolSyntax& syntax : tool_syntaxes()) {
    std::string tells;
    for (const std::string_view tell : syntax.tells) tells += std::string(tell) + " ";
    sources.push_back(source_with(tells));
  }
  for (const std::string& source : sources) {
    begin(source);
    for (uint64_t seed = 0; seed < 2; ++seed) {
      Json body = chat(seed);
      body["tools"] = Json::parse(kTools);
      body["tool_choice"] = "required";
      body["parallel_tool_calls"] = seed == 1;
      const Json choice = Json::parse(ask("/v1/chat/completions", body))["choices"][0];
      ASSERT_TRUE(choice["message"].contains("tool_calls")) << source << "\n" << choice.dump();
      EXPECT_EQ(choice["finish_reason"], "tool_calls") << source;
      EXPECT_TRUE(choice["message"]["content"].is_null()) << source << "\n" << choice.dump();
      for (const Json& call : choice["message"]["tool_calls"]) {
        EXPECT_EQ(call["function"]["name"], "look_up");
        const Json arguments = Json::parse(call["function"]["arguments"].get<std::string>(), nullptr, false);
        ASSERT_TRUE(arguments.is_object() && arguments.size() == 3) << source << "\n" << call.dump();
        EXPECT_TRUE(arguments["text"].is_string() && arguments["n"].is_number_integer()) << source << call.dump();
        EXPECT_TRUE(arguments["kind"] == "a" || arguments["kind"] == "b") << source << call.dump();
      }
    }
  }
}

TEST_F(ServiceForms, AnswersHaveTheirForm) {
  begin(source_with("<think>"));
  const Json schema = Json::parse(kTools)[0]["function"]["parameters"];
  for (uint64_t seed = 0; seed < 4; ++seed) {
    Json body = chat(seed);
    body["response_format"] = {{"type", "json_schema"}, {"json_schema", {{"name", "x"}, {"schema", schema}}}};
    body["lossless"] = seed % 2 == 1;
    const Json choice = Json::parse(ask("/v1/chat/completions", body))["choices"][0];
    EXPECT_EQ(choice["finish_reason"], "stop");
    const Json value = Json::parse(choice["message"]["content"].get<std::string>(), nullptr, false);
    EXPECT_TRUE(value.is_object() && value.size() == 3) << choice.dump();
  }
  const Json refused =
      Json::parse(ask("/v1/completions", {{"prompt", "a"}, {"json_schema", {{"not", Json::object()}}}}, 400));
  EXPECT_EQ(refused["error"]["param"], "json_schema");
  EXPECT_NE(refused["error"]["message"].get<std::string>().find("'not'"), std::string::npos);
}

// A prompt that opens the thinking: the form is that of what comes behind it.
TEST_F(ServiceForms, ThinkingIsFree) {
  begin(source_with("") + "{% if add_generation_prompt %}<think>{% endif %}");
  Json body = chat(3);
  body["guided_choice"] = {"yes", "no"};
  body["max_tokens"] = 2500;
  body["logit_bias"] = Json::object();  // the mark's bytes, often
  for (const char* letter : {"<", "/", "t", "h", "i", "n", "k", ">"})
    body["logit_bias"][std::to_string(*engine_.tokenizer->find(letter))] = 12;
  const Json choice = Json::parse(ask("/v1/chat/completions", body))["choices"][0];
  if (choice["finish_reason"] == "length") {  // it never ended its thinking
    EXPECT_EQ(choice["message"]["content"], "");
  } else {
    EXPECT_TRUE(choice["message"]["content"] == "yes" || choice["message"]["content"] == "no") << choice.dump();
  }
}

}  // namespace
}  // namespace hunch::serve
