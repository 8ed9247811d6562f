#include "io/printable.h"

#include <gtest/gtest.h>

namespace hunch {
namespace {

TEST(Printable, WhatPeopleWriteStaysAsItIs) {
  for (const char* text : {"a plain name.gguf", "Modelle/gr\u00fcn", "\u6a21\u578b.gguf", "\U0001f600", "\u00a0\u00e9"})
    EXPECT_EQ(printable(text), text);
}

TEST(Printable, WhatCommandsATerminalIsEscaped) {
  EXPECT_EQ(printable("a\x1b[2Jb\n\x7f"), "a\\x1b[2Jb\\x0a\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");                   // C1: "control sequence introducer"
  EXPECT_EQ(printable("\u202egpj.exe"), "\\xe2\\x80\\xaegpj.exe");  // right to left
  for (const char* text : {"\u200b", "\u2028", "\u2066", "\ufeff", "\uffff", "\U000e0041"})
    EXPECT_TRUE(printable(text).starts_with("\\x")) << text;
}

TEST(Printable, BytesThatAreNoTextAreEscaped) {
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80").size(), 16u);     // beyond Unicode
  EXPECT_EQ(printable("\xe6\xa8"), "\\xe6\\xa8");           // cut off
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
}

TEST(Printable, LongOnesAreCutBetweenCharacters) {
  EXPECT_EQ(printable("abcdef", 6), "abcdef");
  EXPECT_EQ(printable("abcdefg", 6), "abcdef...");
  EXPECT_EQ(printable("abcde\u00fc", 6), "abcde...");
  EXPECT_EQ(printable("\u6a21\u578b", 5), "\u6a21...");
  EXPECT_EQ(printable("", 0), "");
}

}  // namespace
}  // namespace hunch
