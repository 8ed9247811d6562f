// What requests say, and what is wrong with those that cannot be meant.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "serve/chat_request.h"
#include "serve/completion_request.h"
#include "serve/request_error.h"
#include "serve/sse.h"
#include "serve/text_requests.h"

namespace hunch::serve {
namespace {

// The field that a refusal names; "-" where nothing was refused.
template <class Parse>
std::string refused_field(Parse parse, const std::string& body) {
  try {
    parse(body);
  } catch (const RequestError& e) {
    EXPECT_EQ(e.status(), 400) << body;
    EXPECT_EQ(e.json()["error"]["type"], "invalid_request_error");
    return e.param();
  }
  return "-";
}

std::string refused_in_completion(const std::string& fields) {
  return refused_field(completion_request, R"({"prompt": "a", )" + fields + "}");
}
std::string refused_in_chat(const std::string& fields) {
  return refused_field(chat_request, R"({"messages": [{"role": "user", "content": "a"}], )" + fields + "}");
}

TEST(Request, CompletionHasEveryField) {
  const CompletionRequest r = completion_request(R"({"prompt": ["a", [1, 2]], "max_tokens": 7, "temperature": 0.5,
      "top_p": 0.9, "min_p": 0.1, "top_k": -1, "frequency_penalty": 1, "presence_penalty": -1, "seed": -3, "n": 2,
      "stop": "x", "logit_bias": {"3": -100, "4": 2.5}, "echo": true, "logprobs": 3, "stream": true,
      "stream_options": {"include_usage": true}, "trace": true, "mode": "sparse", "density": 0.105, "cache_prompt": false,
      "user": "somebody", "unknown": [1]})");
  ASSERT_EQ(r.prompts.size(), 2u);
  EXPECT_EQ(std::get<std::string>(r.prompts[0]), "a");
  EXPECT_EQ(std::get<std::vector<int32_t>>(r.prompts[1]), (std::vector<int32_t>{1, 2}));
  const Settings& s = r.settings;
  EXPECT_EQ(s.n_tokens, 7u);
  EXPECT_FLOAT_EQ(s.sampler.temperature, 0.5f);
  EXPECT_FLOAT_EQ(s.sampler.top_p, 0.9f);
  EXPECT_FLOAT_EQ(s.sampler.min_p, 0.1f);
  EXPECT_EQ(s.sampler.top_k, 0);
  EXPECT_EQ(s.sampler.penalty_last_n, -1);
  EXPECT_EQ(s.seed, uint64_t(-3));
  EXPECT_EQ(s.n_choices, 2u);
  EXPECT_EQ(s.stop, std::vector<std::string>{"x"});
  EXPECT_EQ(s.sampler.logit_bias.at(3), -INFINITY);
  EXPECT_EQ(s.sampler.logit_bias.at(4), 2.5f);
  EXPECT_TRUE(r.echo && s.log_probs && s.stream && s.include_usage && s.trace && !s.reuse_prompt);
  EXPECT_EQ(s.n_top_log_probs, 3u);
  EXPECT_EQ(s.mode, "sparse");
  EXPECT_DOUBLE_EQ(s.density, 0.11);
}

TEST(Request, NullIsAbsence) {
  const CompletionRequest r = completion_request(
      R"({"prompt": "a", "max_tokens": null, "stop": null, "logprobs": null, "seed": null, "tools": null, "n": null})");
  EXPECT_FALSE(r.settings.n_tokens || r.settings.seed || r.settings.log_probs);
  EXPECT_EQ(r.settings.n_choices, 1u);
}

TEST(Request, WrongTypesAndRangesNameTheirField) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("max_tokens": "7")", "max_tokens"},
      {R"("max_tokens": 1.5)", "max_tokens"},
      {R"("max_tokens": -2)", "max_tokens"},
      {R"("temperature": -1)", "temperature"},
      {R"("temperature": "hot")", "temperature"},
      {R"("top_p": 2)", "top_p"},
      {R"("n": 0)", "n"},
      {R"("n": 1000)", "n"},
      {R"("stop": 3)", "stop"},
      {R"("stop": [3])", "stop"},
      {R"("stream": 1)", "stream"},
      {R"("stream_options": {"include_usage": true})", "stream_options"},
      {R"("stream": true, "stream_options": {"include_usage": 1})", "stream_options.include_usage"},
      {R"("seed": 1e300)", "seed"},
      {R"("logit_bias": [1])", "logit_bias"},
      {R"("logit_bias": {"a": 1})", "logit_bias"},
      {R"("logit_bias": {"1": 101})", "logit_bias"},
      {R"("logit_bias": {"1": "x"})", "logit_bias"},
      {R"("mode": "fast")", "mode"},
      {R"("mode": "dense", "density": 0.5)", "density"},
      {R"("density": 0)", "density"},
      {R"("mode": "sparse", "lossless": true)", "lossless"},
      {R"("best_of": 30)", "best_of"},
      {R"("trace": 1, "stream": true)", "trace"},
      {R"("trace": true)", "trace"},
      {R"("model": 3)", "model"},
  };
  for (const auto& [fields, field] : cases) {
    EXPECT_EQ(refused_in_completion(fields), field) << fields;
    EXPECT_EQ(refused_in_chat(fields), field) << fields;
  }
  EXPECT_EQ(refused_in_completion(R"("logprobs": true)"), "logprobs");
  EXPECT_EQ(refused_in_completion(R"("logprobs": 21)"), "logprobs");
  EXPECT_EQ(refused_in_chat(R"("logprobs": 1)"), "logprobs");
  EXPECT_EQ(refused_in_chat(R"("top_logprobs": 2)"), "top_logprobs");
}

TEST(Request, WhatIsNotSupportedIsSaidUnlessItSaysNothing) {
  for (const char* field : {"tools", "grammar", "functions"})
    EXPECT_EQ(refused_in_chat(fmt::format(R"("{}": {{"type": "json_object"}})", field)), field);
  EXPECT_EQ(refused_in_chat(R"("tools": [{"type": "function"}])"), "tools");
  EXPECT_EQ(refused_in_chat(R"("tools": [], "tool_choice": "none", "response_format": {"type": "text"})"), "-");
  EXPECT_EQ(refused_in_chat(R"("tool_choice": "required")"), "tool_choice");
  EXPECT_EQ(refused_in_chat(R"("modalities": ["text"])"), "-");
  EXPECT_EQ(refused_in_chat(R"("modalities": ["text", "audio"])"), "modalities");
}

TEST(Request, ToolsAndCallsAreChecked) {
  const ChatRequest r = chat_request(R"({"messages": [{"role": "user", "content": "a"},
      {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function",
          "function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "1", "content": "b"}],
      "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": true}},
                {"type": "function", "function": {"name": "g"}}], "parallel_tool_calls": false})");
  ASSERT_EQ(r.tools.tools->size(), 2u);
  EXPECT_TRUE((*r.tools.tools)[0].strict);
  EXPECT_FALSE(r.tools.parallel);
  EXPECT_EQ(r.tools.list[1]["function"]["description"], "");
  const std::string tools = R"("tools": [{"type": "function", "function": {"name": "f"}}])";
  EXPECT_EQ(refused_in_completion(tools), "tools");
  EXPECT_EQ(refused_in_chat(tools + R"(, "tool_choice": "auto")"), "-");
  EXPECT_EQ(refused_in_chat(tools + R"(, "tool_choice": "none")"), "-");
  EXPECT_EQ(refused_in_chat(tools + R"(, "tool_choice": "maybe")"), "tool_choice");
  EXPECT_EQ(refused_in_chat(tools + R"(, "tool_choice": {"type": "function", "function": {"name": "h"}})"),
            "tool_choice");
  EXPECT_EQ(refused_in_chat(tools + R"(, "parallel_tool_calls": 1)"), "parallel_tool_calls");
  for (const char* wrong :
       {R"([{"type": "web_search"}])", R"([{"type": "function", "function": {"name": "a b"}}])",
        R"([{"type": "function", "function": {"name": "f", "parameters": []}}])", "[3]", "{}",
        R"([{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "f"}}])"})
    EXPECT_EQ(refused_in_chat(fmt::format(R"("tools": {})", wrong)), "tools") << wrong;
  for (const char* calls : {"3", "[3]", R"([{"function": {}}])", R"([{"function": {"name": "f", "arguments": 3}}])"})
    EXPECT_EQ(refused_field(chat_request,
                            fmt::format(R"({{"messages": [{{"role": "assistant", "tool_calls": {}}}]}})", calls)),
              "messages")
        << calls;
}

TEST(Request, TheFormOfAnAnswer) {
  const auto form = [](const std::string& fields) {
    return completion_request(R"({"prompt": "a", )" + fields + "}").settings.form;
  };
  using Kind = AnswerForm::Kind;
  EXPECT_EQ(form(R"("response_format": {"type": "text"})").kind, Kind::kAny);
  EXPECT_EQ(form(R"("response_format": {"type": "json_object"})").kind, Kind::kJsonObject);
  EXPECT_EQ(
      form(R"("response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "null"}}})")
          .value["type"],
      "null");
  EXPECT_EQ(form(R"("guided_json": "{\"type\": \"null\"}")").kind, Kind::kSchema);
  EXPECT_EQ(form(R"("guided_choice": ["a", "b"])").kind, Kind::kChoice);
  EXPECT_EQ(form(R"("guided_regex": "a+")").kind, Kind::kRegex);
  EXPECT_EQ(form(R"("grammar": "root ::= x")").kind, Kind::kGbnf);
  EXPECT_EQ(form(R"("structured_outputs": {"regex": "a"})").param, "structured_outputs.regex");
  const std::pair<const char*, const char*> wrong[] = {
      {R"("response_format": {})", "response_format"},
      {R"("response_format": {"type": "xml"})", "response_format"},
      {R"("response_format": {"type": "json_schema"})", "response_format"},
      {R"("json_schema": 3)", "json_schema"},
      {R"("guided_choice": [])", "guided_choice"},
      {R"("regex": {"a": 1})", "regex"},
      {R"("grammar": "root ::= x", "regex": "a")", "regex"},
  };
  for (const auto& [fields, field] : wrong) EXPECT_EQ(refused_in_completion(fields), field) << fields;
  // The text of a schema is nested as little as the body around it.
  const std::string deep = R"({\"a\":)" + std::string(1 << 20, '[') + std::string(1 << 20, ']') + "}";
  EXPECT_EQ(refused_in_completion(fmt::format(R"("json_schema": "{}")", deep)), "json_schema");
}

TEST(Request, PromptsAreTextsOrIds) {
  EXPECT_EQ(std::get<std::vector<int32_t>>(completion_request(R"({"prompt": [5, 6]})").prompts[0]).size(), 2u);
  for (const char* prompt : {"3", "[]", "[[1], 2]", "[1, \"a\"]", "[-1]", "[1.5]", "[5000000000]", "{}", "[null]"})
    EXPECT_EQ(refused_field(completion_request, fmt::format(R"({{"prompt": {}}})", prompt)), "prompt") << prompt;
  EXPECT_EQ(refused_field(completion_request, "{}"), "prompt");
}

TEST(Request, MessagesAreChecked) {
  const auto refused = [](const char* messages) {
    return refused_field(chat_request, fmt::format(R"({{"messages": {}}})", messages));
  };
  for (const char* messages :
       {"[]", "3", "[3]", "[{}]", R"([{"role": 1}])", R"([{"role": "user"}])", R"([{"role": "user", "content": 3}])",
        R"([{"role": "user", "content": [3]}])", R"([{"role": "user", "content": [{"type": "image_url"}]}])",
        R"([{"role": "user", "content": [{"type": "text"}]}])"})
    EXPECT_EQ(refused(messages), "messages") << messages;
  const ChatRequest r = chat_request(R"({"messages": [{"role": "developer", "content": "x"},
      {"role": "assistant", "content": null, "reasoning_content": "hm"}], "chat_template_kwargs": {"a": 1}})");
  EXPECT_EQ(r.messages[0]["role"], "system");
  EXPECT_EQ(r.messages[1]["content"], "");
  EXPECT_FALSE(r.messages[1].contains("reasoning_content"));
  EXPECT_EQ(r.variables["a"], 1);
}

TEST(Request, BodiesThatAreNoJsonObjectsAreRefused) {
  for (const std::string& body : {std::string(), std::string("{"), std::string("[1]"), std::string("\xff\xfe"),
                                  std::string("{\"prompt\": \"\xc3\"}"), std::string("{\"prompt\": \"\\ud800\"}"),
                                  std::string("{\"prompt\": 1e999}"), std::string(1 << 20, '[')})
    EXPECT_THROW(completion_request(body), RequestError) << body.substr(0, 20);
  // As deep as it may be, and one level more; brackets in texts do not count.
  const auto nested = [](size_t n) { return "{\"x\": " + std::string(n, '[') + std::string(n, ']') + "}"; };
  EXPECT_NO_THROW(parse_body(nested(kMaxJsonDepth - 1)));
  EXPECT_THROW(parse_body(nested(kMaxJsonDepth)), RequestError);
  EXPECT_NO_THROW(parse_body("{\"x\": \"\\\"" + std::string(1000, '[') + "\"}"));
}

TEST(Request, SmallerRequests) {
  EXPECT_EQ(embedding_request(R"({"input": ["a", "b"], "encoding_format": "base64"})").texts.size(), 2u);
  EXPECT_EQ(refused_field(embedding_request, R"({"input": "a", "encoding_format": "hex"})"), "encoding_format");
  EXPECT_EQ(refused_field(embedding_request, R"({"input": "a", "dimensions": 3})"), "dimensions");
  EXPECT_EQ(rerank_request(R"({"query": "q", "documents": ["a", {"text": "b"}]})").documents[1], "b");
  EXPECT_EQ(refused_field(rerank_request, R"({"query": "q", "documents": [1]})"), "documents");
  EXPECT_EQ(refused_field(rerank_request, R"({"documents": ["a"]})"), "query");
  EXPECT_EQ(refused_field(tokenize_request, R"({"content": 1})"), "content");
  EXPECT_EQ(refused_field(tokenize_request, R"({"prompt": 1})"), "prompt");
  EXPECT_FALSE(tokenize_request(R"({"content": "a", "add_special_tokens": true})").add_special);
  EXPECT_TRUE(tokenize_request(R"({"prompt": "a"})").add_special);
  EXPECT_FALSE(tokenize_request(R"({"prompt": "a", "add_special_tokens": false})").add_special);
  EXPECT_EQ(refused_field(detokenize_request, R"({"tokens": ["a"]})"), "tokens");
  EXPECT_EQ(refused_field(template_request, R"({"messages": 1})"), "messages");
}

TEST(RequestError, ShowsNothingOfTheMachine) {
  const auto shown = [](auto error) { return as_request_error(std::make_exception_ptr(error)); };
  EXPECT_EQ(shown(Error(ErrorKind::kIo, "/home/me/model.gguf: gone")).json()["error"]["message"], "internal error");
  EXPECT_EQ(shown(std::runtime_error("/etc/passwd")).status(), 500);
  EXPECT_EQ(shown(Error(ErrorKind::kLimit, "too long")).status(), 400);
  EXPECT_EQ(shown(std::bad_alloc()).status(), 503);
}

TEST(Sse, AnEventIsOneLineAndAnEmptyOne) {
  EXPECT_EQ(sse_event({{"text", "a\nb"}}), "data: {\"text\":\"a\\nb\"}\n\n");
  EXPECT_EQ(sse_event({{"text", "\xff"}}), "data: {\"text\":\"\xef\xbf\xbd\"}\n\n");
  EXPECT_EQ(sse_done(), "data: [DONE]\n\n");
}

}  // namespace
}  // namespace hunch::serve
