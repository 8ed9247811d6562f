#include "cli/message_reader.h"

#include <gtest/gtest.h>

#include <vector>

namespace hunch::cli {
namespace {

// The messages of these lines; those that are commands are marked by a "command " in front.
std::vector<std::string> read(const std::vector<std::string>& lines) {
  MessageReader reader;
  std::vector<std::string> out;
  const auto add = [&](const std::optional<ChatInput>& input) {
    if (input) out.push_back((input->is_command ? "command " : "") + input->text);
  };
  for (const std::string& line : lines) add(reader.push(line));
  add(reader.finish());
  EXPECT_FALSE(reader.is_open());
  return out;
}
using Messages = std::vector<std::string>;

TEST(MessageReader, ALineIsAMessage) { EXPECT_EQ(read({"one", "", "two"}), (Messages{"one", "", "two"})); }

TEST(MessageReader, ABackslashContinues) {
  EXPECT_EQ(read({"one \\", "two\\", "three", "four"}), (Messages{"one \ntwo\nthree", "four"}));
  EXPECT_EQ(read({"/system one\\", "two"}), (Messages{"command /system one\ntwo"}));
  EXPECT_EQ(read({"cut\\"}), (Messages{"cut\n"}));
}

TEST(MessageReader, QuotesHoldManyLines) {
  EXPECT_EQ(read({"\"\"\"", "one", "", "  two \\", "/quit", "\"\"\"", "next"}),
            (Messages{"one\n\n  two \\\n/quit", "next"}));
  EXPECT_EQ(read({"\"\"\"one", "two\"\"\""}), (Messages{"one\ntwo"}));
  EXPECT_EQ(read({"\"\"\"one line\"\"\""}), (Messages{"one line"}));
  EXPECT_EQ(read({"\"\"\"/quit\"\"\""}), (Messages{"/quit"}));
  EXPECT_EQ(read({"\"\"\"\"\"\""}), (Messages{""}));
  EXPECT_EQ(read({"say \"\"\"x\"\"\""}), (Messages{"say \"\"\"x\"\"\""}));
}

TEST(MessageReader, QuotesThatTheInputEndsInAreAMessage) {
  EXPECT_EQ(read({"\"\"\"", "one", "two"}), (Messages{"one\ntwo"}));
}

TEST(MessageReader, APasteIsOneMessageAsItStands) {
  EXPECT_EQ(read({"/usr\none\\\ntwo\\", "next"}), (Messages{"/usr\none\\\ntwo\\", "next"}));
  EXPECT_EQ(read({"\"\"\"Doc.\"\"\"\nimport x"}), (Messages{"\"\"\"Doc.\"\"\"\nimport x"}));
  EXPECT_EQ(read({"\"\"\"\na\nb\n\"\"\""}), (Messages{"a\nb"}));
  EXPECT_EQ(read({"\"\"\"", "a\n\nb", "\"\"\""}), (Messages{"a\n\nb"}));
  EXPECT_EQ(read({"see:\\", "a\nb\\", "/x"}), (Messages{"see:\na\nb\\", "command /x"}));
}

TEST(MessageReader, ForgetsWhatWasBegun) {
  MessageReader reader;
  EXPECT_FALSE(reader.push("\"\"\"one"));
  EXPECT_TRUE(reader.is_open());
  reader.clear();
  EXPECT_FALSE(reader.is_open());
  EXPECT_EQ(reader.push("two")->text, "two");
}

}  // namespace
}  // namespace hunch::cli
