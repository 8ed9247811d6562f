#include "cli/answer_view.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace hunch::cli {
namespace {

// Styles are looked up once per process, so all tests here see the same.
class AnswerViewTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
  }
};

SplitText thinking(const char* text) { return {text, "", true}; }
SplitText content(const char* text) { return {"", text, false}; }

TEST_F(AnswerViewTest, WithoutATerminalTheModelsWordsAreLeftAlone) {
  AnswerView view({});
  EXPECT_EQ(view.begin(), "");
  EXPECT_EQ(view.raw("<think>x"), "<think>x");
  EXPECT_EQ(view.text(thinking("x")) + view.text(content("y")) + view.status(), "");
  EXPECT_EQ(view.finish(), "\n");
}

TEST_F(AnswerViewTest, HiddenThinkingIsNeitherOnATerminalNorElsewhere) {
  for (bool terminal : {false, true}) {
    AnswerView view({.terminal = terminal, .columns = 80, .hide_thinking = true, .name = "m"});
    EXPECT_EQ(view.raw("<think>secret</think>y"), "");
    EXPECT_EQ(view.text(thinking("secret")), "");
    EXPECT_EQ(view.text(content("y")), terminal ? "\033[2m(thought for 1 token)\n\033[0m\ny" : "y");
  }
}

TEST_F(AnswerViewTest, HiddenThinkingIsCountedWhileItLasts) {
  AnswerView view({.terminal = true, .columns = 80, .hide_thinking = true, .progress = true, .name = "m"});
  view.text(thinking("a"));
  view.text(thinking(""));
  EXPECT_EQ(view.status(), "\r\033[Kthinking ... 2 tokens");
  view.text(content("y"));
  EXPECT_EQ(view.status(), "\r\033[K");
  EXPECT_EQ(view.status(), "");
}

TEST_F(AnswerViewTest, OnATerminalThinkingIsDimAndBothAreWrapped) {
  AnswerView view({.terminal = true, .columns = 9, .name = "m"});
  EXPECT_EQ(view.begin(), "\033[1;36mm:\033[0m\n");
  EXPECT_EQ(view.raw("x"), "");
  EXPECT_EQ(view.text(thinking("so far ")), "\033[2m(thinking)\nso far ");
  EXPECT_EQ(view.text(thinking("it is")), "i\033[1D\033[K\nit is");
  EXPECT_EQ(view.text(content("well then")), "\n(thought for 2 tokens)\n\033[0m\nwell the\033[3D\033[K\nthen");
  EXPECT_EQ(view.finish(), "\n\n");
}

TEST_F(AnswerViewTest, AnEndInTheMiddleOfThinkingLeavesNoStyle) {
  AnswerView view({.terminal = true, .columns = 80, .name = "m"});
  view.text(thinking("so"));
  EXPECT_EQ(view.finish(), "\033[0m\n\n");
}

}  // namespace
}  // namespace hunch::cli
