#include "text/thinking.h"

#include <gtest/gtest.h>

namespace hunch {
namespace {

struct Parts {
  std::string thinking, content;
  bool operator==(const Parts&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Parts& parts) {
  return out << "{" << parts.thinking << " | " << parts.content << "}";
}

// Split as it comes, in pieces of one byte, of three, and whole; that they agree is checked.
Parts split(const ThinkingTags& tags, const std::string& text, bool inside = false) {
  Parts first;
  for (size_t n : {text.size() + 1, size_t(1), size_t(3)}) {
    ThinkingSplitter splitter(tags, inside);
    Parts parts;
    const auto add = [&](const SplitText& part) {
      parts.thinking += part.thinking;
      parts.content += part.content;
    };
    for (size_t i = 0; i < text.size(); i += n) add(splitter.push(std::string_view(text).substr(i, n)));
    add(splitter.finish());
    if (n > text.size()) first = parts;
    EXPECT_EQ(parts, first) << "in pieces of " << n << " bytes";
  }
  return first;
}

const ThinkingTags& usual() { return thinking_tags(""); }

TEST(Thinking, IsWhatStandsBetweenTheMarks) {
  EXPECT_EQ(split(usual(), "<think>\nIt is\n\nfour. \n</think>\n\nFour.\n"), (Parts{"It is\n\nfour.", "Four.\n"}));
  EXPECT_EQ(split(usual(), " \n<think>\n\n</think>\n\nFour."), (Parts{"", "Four."}));
  EXPECT_EQ(split(usual(), "Four."), (Parts{"", "Four."}));
  EXPECT_EQ(split(usual(), ""), (Parts{}));
}

TEST(Thinking, MayBeOpenedByThePrompt) {
  EXPECT_EQ(split(usual(), "It is.</think>Four.", true), (Parts{"It is.", "Four."}));
  EXPECT_TRUE(opens_thinking("<|assistant|>\n<think>\n", usual()));
  EXPECT_FALSE(opens_thinking("<|assistant|>\n<think>\n\n</think>\n\n", usual()));
  EXPECT_FALSE(opens_thinking("<|assistant|>\n", usual()));
}

TEST(Thinking, ThatIsCutIsNoAnswer) {
  EXPECT_EQ(split(usual(), "<think>so far </thi"), (Parts{"so far </thi", ""}));
  EXPECT_EQ(split(usual(), "<thin"), (Parts{"", "<thin"}));
}

TEST(Thinking, MarksInTheMiddleOfAnAnswerAreText) {
  EXPECT_EQ(split(usual(), "Write <think> and </think> around it."),
            (Parts{"", "Write <think> and </think> around it."}));
  EXPECT_EQ(split(usual(), "a < b </think"), (Parts{"", "a < b </think"}));
}

TEST(Thinking, IsHandedOutWhileItGoesOn) {
  ThinkingSplitter splitter(usual(), false);
  EXPECT_FALSE(splitter.push("<thi").is_thinking);
  const SplitText first = splitter.push("nk>one ");
  EXPECT_EQ(first.thinking, "one");
  EXPECT_TRUE(first.is_thinking);
  EXPECT_EQ(splitter.push("two").thinking, " two");
  const SplitText last = splitter.push("</think>\n\nHi");
  EXPECT_EQ(last.content, "Hi");
  EXPECT_FALSE(last.is_thinking);
}

TEST(Thinking, MarksAreThoseOfTheTemplate) {
  const auto& channels = thinking_tags(
      "{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}"
      "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content }}");
  EXPECT_EQ(split(channels, "<|channel|>analysis<|message|>Sum.<|end|><|start|>assistant<|channel|>final<|message|>4"),
            (Parts{"Sum.", "4"}));
  EXPECT_EQ(split(channels, "<|channel|>final<|message|>4<|end|>"), (Parts{"", "4"}));
  const auto& cohere = thinking_tags("<|START_THINKING|><|END_THINKING|><|START_RESPONSE|>");
  EXPECT_EQ(split(cohere, "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>"), (Parts{"a", "b"}));
  EXPECT_EQ(split(thinking_tags("[THINK]"), "[THINK]a[/THINK]b"), (Parts{"a", "b"}));
  EXPECT_EQ(split(thinking_tags("<think> <response>"), "<think>a</think>\n<response>b</response>"), (Parts{"a", "b"}));
  EXPECT_EQ(split(thinking_tags("<think>"), "<think>a</think>\n<response>b"), (Parts{"a", "<response>b"}));
}

}  // namespace
}  // namespace hunch
