#include "select/prompt_pattern.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace hunch {
namespace {

TEST(PromptPattern, IsReadAsItIsWritten) {
  for (const char* text : {"dense", "a-shape:1024,sinks=64", "a-shape:65,sinks=4",
                           "vertical-slash:2048,sinks=32,verticals=0.25,queries=64", "blocks:128"}) {
    const PromptPattern pattern = prompt_pattern_from(text);
    EXPECT_EQ(name_of(pattern), text);
    EXPECT_EQ(prompt_pattern_from(name_of(pattern)), pattern);
  }
  EXPECT_EQ(prompt_pattern_from("vertical-slash:512").verticals, 0.5);
  EXPECT_TRUE(is_prompt_pattern("blocks"));
  EXPECT_FALSE(is_prompt_pattern("dense"));
}

TEST(PromptPattern, WhatIsWrongIsSaid) {
  const auto message = [](const char* text) -> std::string {
    try {
      prompt_pattern_from(text);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage);
      return e.what();
    }
    return "nothing";
  };
  const auto expect = [&](const char* text, const char* said) {
    EXPECT_NE(message(text).find(said), std::string::npos) << text << ": " << message(text);
  };
  expect("", "unknown pattern");
  expect("star:12", "expected dense, a-shape:1024");
  expect("a-shape", "has no budget, expected a-shape:1024");
  expect("a-shape:", "has no budget");
  expect("a-shape,sinks=3:99", "has no budget");
  expect("a-shape:64", "expected at least 65");
  expect("blocks:100", "expected at least 128: the first block");
  expect("vertical-slash:100,sinks=40", "expected at least 104");
  expect("a-shape:1024,sinks=", "sinks ''");
  expect("a-shape:1024,verticals=0.5", "expected sinks=N");
  expect("blocks:1024,sinks=4", "expected none");
  expect("vertical-slash:1024,verticals=2", "expected a share from 0 to 1");
  expect("vertical-slash:1024,queries=0", "expected a whole number from 1 to 512");
}

TEST(PromptPatterns, OfHeadsAndOfAll) {
  const PromptPattern shape = prompt_pattern_from("a-shape:128"), blocks = prompt_pattern_from("blocks:256");
  const PromptPatterns all(shape);
  EXPECT_EQ(all.at(7, 3), shape);
  EXPECT_FALSE(all.chooses());
  EXPECT_FALSE(all.restricts(0, 2, 128));
  EXPECT_TRUE(all.restricts(0, 2, 129));

  const PromptPatterns own({{{}, blocks}, {}, {{}, {}}});
  EXPECT_EQ(own.at(0, 1), blocks);
  EXPECT_EQ(own.at(1, 0), PromptPattern()) << "a layer without a list";
  EXPECT_EQ(own.at(9, 0), PromptPattern());
  EXPECT_TRUE(own.chooses());
  EXPECT_TRUE(own.restricts(0, 2, 257));
  EXPECT_FALSE(own.restricts(0, 1, 257)) << "the first head is dense";
  EXPECT_FALSE(own.restricts(2, 2, 10000));
}

}  // namespace
}  // namespace hunch
