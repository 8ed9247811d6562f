#include "cli/table.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hunch::cli {
namespace {

using Lines = std::vector<std::string>;

TEST(Table, Aligns) {
  EXPECT_EQ(table({{"row", "speed"}, {"pp512", "7"}, {"x", "1234.5"}}),
            "row     speed\npp512       7\nx      1234.5\n");
  EXPECT_EQ(table({{"a", "left"}, {"bb", "x"}}, {1}), "a   left\nbb  x\n");
  EXPECT_EQ(table({{"alone"}, {"x"}}), "alone\nx\n");
  EXPECT_EQ(table({}), "");
  EXPECT_EQ(table({{"a", "b", "c"}, {"x"}}, {}, 80), "a  b  c\nx\n");  // a row may end early
}

TEST(Table, WordsTakeTheColumnsThatTheyTakeOnATerminal) {
  EXPECT_EQ(table({{"\u00fc", "1"}, {"xx", "2"}}), "\u00fc   1\nxx  2\n");
  EXPECT_EQ(table({{"\u4e2d", "1"}, {"xx", "2"}}), "\u4e2d  1\nxx  2\n");
}

TEST(Table, WhatStandsLeftGoesOnBelow) {
  EXPECT_EQ(table({{"sidecar", "predicts the neurons of all layers"}, {"size", "7"}}, {1}, 30),
            "sidecar  predicts the neurons\n         of all layers\nsize     7\n");
  EXPECT_EQ(table({{"mode", "KL"}, {"models/a-long-name.hunch@0.5", "0.1"}}, {}, 24),
            "mode                  KL\nmodels/a-long-name.  0.1\nhunch@0.5\n");
}

TEST(Table, ManyColumnsComeCloserBeforeWordsAreBroken) {
  EXPECT_EQ(table({{"layer", "a", "b", "c", "d", "e"}, {"long name", "1", "2", "3", "4", "5"}}, {}, 19),
            "layer     a b c d e\nlong name 1 2 3 4 5\n");
}

TEST(Table, HeadingsGoOnBelow) {
  EXPECT_EQ(table({{"subject", "one/long/name.hunch, %"}, {"x", "12.5"}}, {}, 22),
            "subject      one/long/\n         name.hunch, %\nx                 12.5\n");
}

TEST(Table, PercentagesStayInOneLine) {
  EXPECT_EQ(table({{"layer", "union 69 %, all 1 %"}, {"0", "1"}}, {}, 16),
            "layer      union\n       69 %, all\n             1 %\n0              1\n");
}

TEST(Table, ColumnsWithoutRoomFollowBelow) {
  EXPECT_EQ(table({{"layer", "first", "second", "third"}, {"0", "1", "2", "3"}}, {}, 20),
            "layer  first  second\n0          1       2\n\nlayer  third\n0          3\n");
}

TEST(WholeWords, BreaksAtSpacesOnly) {
  EXPECT_EQ(whole_words("short", 2, 10), "short");
  EXPECT_EQ(whole_words("one two three four", 2, 10), "one two\n  three\n  four");
  EXPECT_EQ(whole_words("wrote /a/path/without/any/space now", 2, 12), "wrote\n  /a/path/without/any/space\n  now");
  EXPECT_EQ(whole_words("use `hunch a b` or so", 2, 10), "use\n  `hunch a b`\n  or so");
  EXPECT_EQ(whole_words("a ` alone and on", 2, 8), "a `\n  alone\n  and on");
  EXPECT_EQ(whole_words("one two three\n  four\n", 2, 8), "one two\n  three\n  four\n");
  EXPECT_EQ(whole_words("\u4e2d\u6587 \u4e2d\u6587", 0, 8), "\u4e2d\u6587\n\u4e2d\u6587");
  EXPECT_EQ(whole_words("", 2, 8), "");
}

TEST(Table, NoLineIsWiderWhateverTheRowsAre) {
  for (size_t n_columns = 1; n_columns < 30; ++n_columns)
    for (size_t length : {1u, 5u, 30u, 200u}) {
      std::vector<std::vector<std::string>> rows(3);
      for (size_t i = 0; i < n_columns; ++i) {
        rows[0].push_back(std::string(length, 'h'));
        rows[1].push_back(i == 0 || i == 2 ? std::string(length, 'x') : "12.5 %");
      }
      rows[2] = {"short"};
      const std::string out = table(rows, {2}, 80);
      for (size_t at = 0, end; at < out.size(); at = end + 1) {
        end = out.find('\n', at);
        EXPECT_LE(end - at, 80u) << n_columns << " columns of " << length;
      }
      EXPECT_GE(size_t(std::ranges::count(out, 'x')), length);  // nothing is lost
      EXPECT_GE(size_t(std::ranges::count(out, 'h')), length * n_columns);
    }
}

TEST(Table, NamesOfFilesLoseTheirFoldersWhereTheyStayApart) {
  EXPECT_EQ(without_folders({"dense", "a/one.hunch", "tg4 /b/two.hunch@0.5", "x/"}),
            (Lines{"dense", "one.hunch", "tg4 two.hunch@0.5", "x/"}));
  EXPECT_EQ(without_folders({"a/one.hunch", "b/one.hunch"}), (Lines{"a/one.hunch", "b/one.hunch"}));
}

TEST(Paragraph, BreaksWhereAReaderWould) {
  EXPECT_EQ(wrapped_lines("one two three", 7), (Lines{"one two", "three"}));
  EXPECT_EQ(wrapped_lines("one two three", 8), (Lines{"one two", "three"}));
  EXPECT_EQ(wrapped_lines("", 8), (Lines{""}));
  EXPECT_EQ(wrapped_lines("union 69 %, all 1 %", 9), (Lines{"union", "69 %, all", "1 %"}));
  EXPECT_EQ(wrapped_lines("at most 12 % of it", 10), (Lines{"at most", "12 % of it"}));
  EXPECT_EQ(wrapped_lines("123456 %", 6), (Lines{"123456", "%"}));  // there is nowhere else
  EXPECT_EQ(wrapped_lines("a/b/cdefgh", 6), (Lines{"a/b/", "cdefgh"}));
  EXPECT_EQ(wrapped_lines("abcdefgh", 3), (Lines{"abc", "def", "gh"}));
  EXPECT_EQ(wrapped_lines("\u4e2d\u4e2d\u4e2d", 5), (Lines{"\u4e2d\u4e2d", "\u4e2d"}));
  EXPECT_EQ(paragraph("note: one two three", 2, 12), "note: one\n  two three");
}

}  // namespace
}  // namespace hunch::cli
