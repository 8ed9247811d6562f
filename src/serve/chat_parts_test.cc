// Thinking, text and calls of one answer, told apart.
#include "serve/chat_parts.h"

#include <gtest/gtest.h>

#include "serve/tool_settings.h"

namespace hunch::serve {
namespace {

ToolSettings weather() {
  return tool_settings(Json::parse(R"([{"type": "function", "function": {"name": "weather"}}])"), nullptr, true);
}

ChatMessage split(ChatSplitter splitter, std::string_view text) {
  ChatMessage out;
  for (const char c : text)
    for (const ChatPart& part : splitter.push({&c, 1})) out.add(part);
  for (const ChatPart& part : splitter.finish()) out.add(part);
  return out;
}

TEST(ChatSplitter, ThinkingTextAndCallsAreToldApart) {
  const ChatCalls calls{find_tool_syntax("<tool_call>"), weather().tools};
  const std::string text =
      "\n<think>Shall I?</think>\n\nI look.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"a\": "
      "1}}\n</tool_call>\n"
      "<tool_call>\n{\"name\": \"weather\", \"arguments\": {}}\n</tool_call>";
  const ChatMessage m = split({thinking_tags(""), false, calls}, text);
  EXPECT_EQ(m.thinking, "Shall I?");
  EXPECT_EQ(m.content, "I look.");
  ASSERT_EQ(m.calls.size(), 2u);
  EXPECT_EQ(m.calls[0].name, "weather");
  EXPECT_EQ(m.calls[0].arguments, "{\"a\": 1}");
  EXPECT_TRUE(m.calls[0].id.starts_with("call_"));
  EXPECT_NE(m.calls[0].id, m.calls[1].id);
  ChatCalls one = calls;
  one.parallel = false;
  EXPECT_EQ(split({thinking_tags(""), false, one}, text).calls.size(), 1u);
  EXPECT_EQ(split({thinking_tags(""), false}, text).calls.size(), 0u);
}

TEST(ChatSplitter, HarmonysCallsFollowItsThinking) {
  const std::string source = "<|channel|>analysis<|message|> <|channel|>final<|message|> to=functions.";
  const ChatCalls calls{find_tool_syntax(source), weather().tools};
  const ChatMessage m = split({thinking_tags(source), false, calls},
                              "<|channel|>analysis<|message|>Rain?<|end|><|start|>assistant<|channel|>commentary "
                              "to=functions.weather <|constrain|>json<|message|>{\"city\": \"Ulm\"}");
  EXPECT_EQ(m.thinking, "Rain?");
  EXPECT_EQ(m.content, "");
  ASSERT_EQ(m.calls.size(), 1u);
  EXPECT_EQ(m.calls[0].arguments, "{\"city\": \"Ulm\"}");
}

}  // namespace
}  // namespace hunch::serve
