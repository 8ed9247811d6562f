// What requests of Anthropic's, Ollama's and OpenAI's newer API say, and what is wrong with others.
#include <gtest/gtest.h>

#include "serve/anthropic_request.h"
#include "serve/ollama_request.h"
#include "serve/request_error.h"
#include "serve/responses_request.h"
#include "serve/stored_responses.h"

namespace hunch::serve {
namespace {

template <class Parse>
std::string refused_field(Parse parse, const std::string& body) {
  try {
    parse(body);
  } catch (const RequestError& e) {
    EXPECT_EQ(e.status(), 400) << body;
    return e.param();
  }
  return "-";
}
std::string refused_by_anthropic(const std::string& fields) {
  return refused_field([](std::string_view b) { anthropic_request(b, false); },
                       R"({"max_tokens": 9, "messages": [{"role": "user", "content": "a"}], )" + fields + "}");
}
std::string refused_by_responses(const std::string& fields) {
  return refused_field(responses_request, R"({"input": "a", )" + fields + "}");
}
std::string refused_by_ollama(const std::string& fields) {
  return refused_field(ollama_chat_request, R"({"messages": [{"role": "user", "content": "a"}], )" + fields + "}");
}

TEST(AnthropicRequest, BlocksBecomeMessages) {
  const ChatRequest r = anthropic_request(R"({"model": "x", "max_tokens": 9, "system": [{"type": "text", "text": "be"},
    {"type": "text", "text": "kind", "cache_control": {"type": "ephemeral"}}], "temperature": 0.5, "top_k": 3,
    "stop_sequences": ["s"], "metadata": {"user_id": "u"}, "thinking": {"type": "disabled"}, "stream": true,
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}], "tool_choice": {"type": "auto"},
    "messages": [{"role": "user", "content": "a"},
      {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": ""}, {"type": "text", "text": "b"},
        {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}}, {"type": "tool_use", "id": "2", "name": "f", "input": {}}]},
      {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "one"},
        {"type": "tool_result", "tool_use_id": "2", "content": [{"type": "text", "text": "two"}], "is_error": true},
        {"type": "text", "text": "c"}, {"type": "text", "text": "d"}]}]})",
                                          false);
  ASSERT_EQ(r.messages.size(), 6u);
  EXPECT_EQ(r.messages[0], (Json{{"role", "system"}, {"content", "be\nkind"}}));
  EXPECT_EQ(r.messages[2]["content"], "b");
  ASSERT_EQ(r.messages[2]["tool_calls"].size(), 2u);
  EXPECT_EQ(r.messages[2]["tool_calls"][0]["function"]["name"], "f");
  EXPECT_EQ(r.messages[3]["tool_call_id"], "1");
  EXPECT_EQ(r.messages[4]["content"], "two");
  EXPECT_EQ(r.messages[5]["content"], "c\nd");
  EXPECT_EQ(r.settings.n_tokens, 9u);
  EXPECT_EQ(r.settings.stop, std::vector<std::string>{"s"});
  EXPECT_EQ(r.settings.user, "u");
  EXPECT_EQ(r.settings.sampler.top_k, 3);
  EXPECT_TRUE(r.settings.stream);
  EXPECT_EQ(r.variables["enable_thinking"], false);
  ASSERT_TRUE(r.tools.tools);
  EXPECT_EQ(r.tools.list[0]["function"]["name"], "f");
}

// Blocks that say nothing make no message, and a conversation of none has no end to look at.
TEST(AnthropicRequest, NothingIsSaid) {
  for (const char* message : {R"({"role": "assistant", "content": []})", R"({"role": "system", "content": []})",
                              R"({"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}]})"})
    EXPECT_EQ(refused_field([](std::string_view b) { anthropic_request(b, true); },
                            fmt::format(R"({{"messages": [{0}, {0}]}})", message)),
              "messages")
        << message;
}

TEST(AnthropicRequest, WhatIsWrongIsNamed) {
  EXPECT_EQ(refused_field([](std::string_view b) { anthropic_request(b, false); },
                          R"({"messages": [{"role": "user", "content": "a"}]})"),
            "max_tokens");
  EXPECT_NO_THROW(anthropic_request(R"({"messages": [{"role": "user", "content": "a"}]})", true));
  const std::pair<const char*, const char*> cases[] = {
      {R"("max_tokens": 0)", "max_tokens"},
      {R"("temperature": -1)", "temperature"},
      {R"("stop_sequences": [1])", "stop_sequences"},
      {R"("thinking": {"type": "maybe"})", "thinking.type"},
      {R"("thinking": true)", "thinking"},
      {R"("system": 3)", "system"},
      {R"("system": [{"type": "image"}])", "system"},
      {R"("tools": [{"type": "web_search_20250305", "name": "web_search"}])", "tools"},
      {R"("tools": [3])", "tools"},
      {R"("tools": [{"input_schema": {}}])", "tools"},
      {R"("tool_choice": {"type": "some"})", "tool_choice.type"},
      {R"("kv_policy": 3)", "kv_policy"},
      {R"("lora": 3)", "lora"},
      {R"("messages": [])", "messages"},
      {R"("messages": [{"role": "user"}])", "messages"},
      {R"("messages": [{"role": "user", "content": []}])", "messages"},
      {R"("messages": [{"role": "tool", "content": "a"}])", "messages"},
      {R"("messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}])", "messages"},
      {R"("messages": [{"role": "user", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]}])",
       "messages"},
      {R"("messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f"}]}])", "messages"},
      {R"("messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "I"}])", "messages"},
  };
  for (const auto& [fields, field] : cases) EXPECT_EQ(refused_by_anthropic(fields), field) << fields;
}

TEST(ResponsesRequest, ItemsBecomeMessages) {
  const ResponsesRequest r = responses_request(R"({"instructions": "be kind", "max_output_tokens": 5, "store": false,
    "reasoning": {"effort": "low"}, "text": {"format": {"type": "text"}}, "metadata": {"a": "b"}, "tools": [{"type": "function", "name": "f",
    "parameters": {"type": "object"}, "strict": true}], "input": [{"role": "developer", "content": "x"},
      {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}, {"type": "reasoning", "summary": []},
      {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b", "annotations": []}]},
      {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{\"x\": 1}"},
      {"type": "function_call_output", "call_id": "1", "output": "one"}]})");
  ASSERT_EQ(r.chat.messages.size(), 4u);
  EXPECT_EQ(r.chat.messages[2]["content"], "b");
  EXPECT_EQ(r.chat.messages[2]["tool_calls"][0]["id"], "1");
  EXPECT_EQ(r.chat.messages[3]["role"], "tool");
  EXPECT_EQ(r.chat.settings.n_tokens, 5u);
  EXPECT_FALSE(r.store);
  EXPECT_EQ(r.chat.variables["reasoning_effort"], "low");
  EXPECT_EQ(r.echoed["metadata"], (Json{{"a", "b"}}));
  const Json all =
      with_instructions(r.instructions, Json::array({{{"role", "system"}, {"content", "old"}}}), r.chat.messages);
  EXPECT_EQ(all[0]["content"], "be kind\n\nold\n\nx");
  EXPECT_EQ(all.size(), 4u);
  EXPECT_EQ(responses_request(R"({"input": "a"})").chat.messages[0]["role"], "user");
}

TEST(ResponsesRequest, WhatIsWrongIsNamed) {
  EXPECT_EQ(refused_field(responses_request, "{}"), "input");
  const std::pair<const char*, const char*> cases[] = {
      {R"("input": [])", "input"},
      {R"("input": 3)", "input"},
      {R"("input": [{"type": "item_reference", "id": "x"}])", "input"},
      {R"("input": [{"type": "message", "role": "user", "content": [{"type": "input_image"}]}])", "input"},
      {R"("input": [{"type": "function_call", "call_id": "1", "name": "f", "arguments": {}}])", "input"},
      {R"("input": [{"type": "reasoning"}])", "input"},
      {R"("background": true)", "background"},
      {R"("truncation": "auto")", "truncation"},
      {R"("conversation": "c")", "conversation"},
      {R"("top_logprobs": 1)", "top_logprobs"},
      {R"("tools": [{"type": "web_search"}])", "tools"},
      {R"("max_output_tokens": 0)", "max_output_tokens"},
      {R"("text": "x")", "text"},
      {R"("previous_response_id": 3)", "previous_response_id"},
  };
  for (const auto& [fields, field] : cases) EXPECT_EQ(refused_by_responses(fields), field) << fields;
}

TEST(OllamaRequest, OptionsHaveOllamasDefaults) {
  const OllamaRequest plain = ollama_chat_request(R"({"messages": [{"role": "user", "content": "a"}]})");
  EXPECT_FLOAT_EQ(plain.chat.settings.sampler.temperature, 0.8f);
  EXPECT_EQ(plain.chat.settings.sampler.top_k, 40);
  EXPECT_FLOAT_EQ(plain.chat.settings.sampler.repeat_penalty, 1.1f);
  EXPECT_TRUE(plain.chat.settings.stream);
  const OllamaRequest r =
      ollama_chat_request(R"({"stream": false, "think": "high", "messages": [{"role": "user", "content": "a"},
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
    {"role": "tool", "tool_name": "f", "content": "one"}], "options": {"num_predict": 4, "temperature": 0, "num_ctx": 64, "seed": 3,
    "stop": ["x"], "num_gpu": 9}})");
  EXPECT_EQ(r.chat.messages[1]["tool_calls"][0]["function"]["name"], "f");
  EXPECT_EQ(r.chat.settings.n_tokens, 4u);
  EXPECT_EQ(r.chat.settings.seed, 3u);
  EXPECT_EQ(r.n_ctx, 64u);
  EXPECT_EQ(r.chat.variables["reasoning_effort"], "high");
  EXPECT_FALSE(r.chat.settings.stream);
  EXPECT_TRUE(ollama_chat_request("{}").only_loads);
  EXPECT_TRUE(ollama_generate_request(R"({"prompt": ""})").only_loads);
  EXPECT_EQ(ollama_generate_request(R"({"prompt": "a", "raw": true})").raw, "a");
  EXPECT_EQ(ollama_generate_request(R"({"prompt": "a", "system": "s"})").chat.messages.size(), 2u);
  EXPECT_EQ(ollama_embed_request(R"({"input": "a", "truncate": false})").texts.size(), 1u);
  EXPECT_EQ(ollama_embeddings_request(R"({"prompt": "a"})").texts[0], "a");
}

TEST(OllamaRequest, WhatIsWrongIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("options": {"temperature": -1})", "options.temperature"},
      {R"("options": {"num_ctx": -1})", "options.num_ctx"},
      {R"("options": {"mirostat": 1})", "options.mirostat"},
      {R"("options": [])", "options"},
      {R"("think": 3)", "think"},
      {R"("think": "much")", "think"},
      {R"("format": "xml")", "format"},
      {R"("messages": 3)", "messages"},
      {R"("messages": [{"role": "user", "content": "a", "images": ["x"]}])", "messages"},
      {R"("messages": [{"role": "assistant", "tool_calls": [3]}])", "messages"},
      {R"("messages": [{"content": "a"}])", "messages"},
  };
  for (const auto& [fields, field] : cases) EXPECT_EQ(refused_by_ollama(fields), field) << fields;
  EXPECT_EQ(refused_field(ollama_generate_request, R"({"prompt": "a", "suffix": "b"})"), "suffix");
  EXPECT_EQ(refused_field(ollama_embed_request, "{}"), "input");
  EXPECT_EQ(refused_field(ollama_embeddings_request, "{}"), "prompt");
}

TEST(OtherRequests, FormsOfAnswersAndForcedCallsAreThoseOfOpenAi) {
  const std::string a = R"("messages": [{"role": "user", "content": "a"}])", schema = R"({"type": "object"})";
  const ChatRequest anthropic = anthropic_request(
      R"({"max_tokens": 9, "output_config": {"format": {"type": "json_schema", "schema": )" + schema + "}}, " + a + "}",
      false);
  EXPECT_EQ(anthropic.settings.form.kind, AnswerForm::Kind::kSchema);
  const ResponsesRequest responses = responses_request(
      R"({"input": "a", "text": {"format": {"type": "json_schema", "name": "n", "strict": true, "schema": )" + schema +
      "}}}");
  EXPECT_EQ(responses.chat.settings.form.kind, AnswerForm::Kind::kSchema);
  EXPECT_EQ(responses.chat.settings.form.value, (Json{{"type", "object"}}));
  EXPECT_EQ(ollama_chat_request(R"({"format": "json", )" + a + "}").chat.settings.form.kind,
            AnswerForm::Kind::kJsonObject);
  EXPECT_EQ(ollama_chat_request(R"({"format": )" + schema + ", " + a + "}").chat.settings.form.kind,
            AnswerForm::Kind::kSchema);
  const std::string tools = R"("tools": [{"name": "f", "input_schema": {"type": "object"}}], )";
  const ChatRequest forced =
      anthropic_request(R"({"max_tokens": 9, "tool_choice": {"type": "any"}, )" + tools + a + "}", false);
  EXPECT_TRUE(forced.tools.is_forced());
  const ChatRequest named =
      anthropic_request(R"({"max_tokens": 9, "tool_choice": {"type": "tool", "name": "f"}, )" + tools + a + "}", false);
  EXPECT_EQ(named.tools.name, "f");
  EXPECT_EQ(refused_by_responses(
                R"("text": {"format": {"type": "json_object"}}, "tools": [{"type": "function", "name": "f"}])"),
            "response_format");
}

TEST(StoredResponses, TheOldestMakeRoom) {
  StoredResponses store(2, 1000);
  store.keep("a", {{"id", "a"}}, Json::array());
  store.keep("b", {{"id", "b"}}, Json::array());
  EXPECT_TRUE(store.response("a"));  // used: b is the older one now
  store.keep("c", {{"id", "c"}}, Json::array({1}));
  EXPECT_FALSE(store.response("b"));
  EXPECT_EQ((*store.messages("c"))[0], 1);
  store.keep("big", {{"text", std::string(980, 'x')}}, Json::array());
  EXPECT_TRUE(store.response("big"));
  EXPECT_FALSE(store.response("c")) << "bytes are counted too";
  store.keep("huge", {{"text", std::string(2000, 'x')}}, Json::array());
  EXPECT_FALSE(store.response("huge"));
  EXPECT_TRUE(store.forget("big"));
  EXPECT_FALSE(store.forget("big"));
}

}  // namespace
}  // namespace hunch::serve
