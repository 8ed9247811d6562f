#include "cli/foreign_options.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace hunch::cli {
namespace {

using Words = std::vector<std::string>;

class ForeignOptions : public ::testing::Test {
 protected:
  ForeignOptions() {
    g_.positional("MODEL", model_);
    g_.section("S");
    g_.text("-p,--prompt", prompt_, "TEXT", "");
    g_.most("-n,--tokens", n_, "N", "");
    g_.count("--ctx", ctx_, "N", "");
    g_.real("--temperature", temperature_, "T", "");
    g_.count("--seed", seed_, "N", "");
    g_.flag("--ignore-end", ignore_end_, "");
    g_.text("--draft", draft_, "MODEL", "");
  }
  Words words(const Words& words) { return from_llama_cpp(words, g_).words; }
  std::string refusal(const Words& words) {
    try {
      from_llama_cpp(words, g_);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage);
      return e.what();
    }
    return "";
  }
  std::string model_, prompt_, draft_;
  size_t n_ = 0, ctx_ = 0;
  double temperature_ = 1;
  std::optional<uint64_t> seed_;
  bool ignore_end_ = false;
  Grammar g_;
};

TEST_F(ForeignOptions, ACommandOfLlamaCppIsTranslated) {
  const Words theirs = {"-m", "m.gguf",  "-c", "4096", "--temp=0.5", "-n",        "-1",           "-ngl", "99", "-fa",
                        "on", "--jinja", "-s", "7",    "-p",         "--temp me", "--ignore-eos", "-b",   "512"};
  const Translation t = from_llama_cpp(theirs, g_);
  EXPECT_EQ(t.words, (Words{"m.gguf", "--ctx=4096", "--temperature=0.5", "-n", "-1", "--seed=7", "-p", "--temp me",
                            "--ignore-end"}));
  ASSERT_EQ(t.notes.size(), 4u);
  EXPECT_NE(t.notes[0].find("-ngl"), std::string::npos);
  EXPECT_TRUE(g_.parse(t.words).empty());
  EXPECT_EQ(model_, "m.gguf");
  EXPECT_EQ(ctx_, 4096u);
  EXPECT_EQ(temperature_, 0.5);
  EXPECT_EQ(n_, SIZE_MAX);
  EXPECT_EQ(seed_, 7u);
  EXPECT_EQ(prompt_, "--temp me");
  EXPECT_TRUE(ignore_end_);
}

TEST_F(ForeignOptions, WhatIsOursIsLeftAlone) {
  const Words ours = {"m.gguf", "--draft", "small.gguf", "-p", "-ngl", "--", "-c", "--mirostat"};
  EXPECT_EQ(words(ours), ours);
  EXPECT_EQ(words({"-fa", "m.gguf"}), (Words{"m.gguf"}));  // its value is one of a few, or none
  EXPECT_EQ(words({"--seed", "-1"}), (Words{"--seed", "-1"}));
}

TEST_F(ForeignOptions, WhatWouldChangeTheAnswerIsRefusedWithAWay) {
  EXPECT_NE(refusal({"m.gguf", "-cnv"}).find("hunch chat"), std::string::npos);
  EXPECT_NE(refusal({"m.gguf", "--mirostat", "2"}).find("--top-p"), std::string::npos);
  EXPECT_NE(refusal({"--lora-scaled", "a", "0.5"}).find("--lora PATH:SCALE"), std::string::npos);
  EXPECT_NE(refusal({"-m"}).find("-m"), std::string::npos);
  EXPECT_NE(refusal({"m.gguf", "-e"}).find("line end"), std::string::npos);
}

// Keys and values, say, have one type here.
TEST_F(ForeignOptions, TwoNamesForOneOptionMayNotDisagree) {
  EXPECT_EQ(words({"-c", "64", "--ctx-size", "64"}), (Words{"--ctx=64"}));
  EXPECT_NE(refusal({"-c", "64", "--ctx-size", "128"}).find("'128' where '64'"), std::string::npos);
}

}  // namespace
}  // namespace hunch::cli
