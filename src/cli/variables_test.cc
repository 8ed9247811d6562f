#include "cli/variables.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string complaint(const std::vector<std::string>& items) {
  try {
    parse_variables(items);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Variables, ValuesAreJsonOrText) {
  EXPECT_EQ(parse_variables({"enable_thinking=false", "n=3", "name=Ann Lee", "list=[1, 2]", "quoted=\"3\"", "empty="}),
            Json::parse(R"({"enable_thinking": false, "n": 3, "name": "Ann Lee", "list": [1, 2], "quoted": "3",
                            "empty": ""})"));
}

TEST(Variables, PythonsWordsAreNoText) {
  EXPECT_EQ(parse_variables({"a=True", "b=False", "c=None"}), Json::parse(R"({"a": true, "b": false, "c": null})"));
}

TEST(Variables, ObjectsAndPairsAddUpAndTheLastWins) {
  EXPECT_EQ(parse_variables({R"( {"a": 1, "b": {"c": "x=y"}})", "a=2"}), Json::parse(R"({"a": 2, "b": {"c": "x=y"}})"));
  EXPECT_TRUE(parse_variables({}).is_null());
}

TEST(Variables, ErrorsNameWhatWasExpectedAndFound) {
  EXPECT_EQ(complaint({"{\"a\": }"}), "--variables: '{\"a\": }' is not valid JSON: something is wrong at byte 7");
  EXPECT_EQ(complaint({"enable_thinking"}),
            "--variables: expected KEY=VALUE, a JSON object or a file with one, found 'enable_thinking'");
  EXPECT_EQ(complaint({"no name=1"}),
            "--variables: expected KEY=VALUE, a JSON object or a file with one, found 'no name=1'");
}

TEST(Variables, TheTokensAreTextsOfTheTemplateToo) {
  ChatText chat;
  const Json variables = parse_variables({"bos_token=<b>", "x=1"});
  use_variables(chat, variables);
  EXPECT_EQ(chat.options.bos_token, "<b>");
  EXPECT_EQ(chat.options.extra, &variables);
  EXPECT_THROW(use_variables(chat, parse_variables({"eos_token=1"})), Error);
}

}  // namespace
}  // namespace hunch::cli
