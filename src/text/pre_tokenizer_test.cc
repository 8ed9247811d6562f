#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "text/regex.h"

namespace hunch {
namespace {
using Words = std::vector<std::string_view>;

Words split(const char* family, std::string_view text) {
  return PreTokenizer(pre_tokenizer_family(family).patterns).split(text);
}

Words split_at(const std::string& pattern, std::string_view text) {
  Words words;
  Regex(pattern).split(text, words);
  return words;
}

// Expected by the patterns' own reading, word by word.
TEST(PreTokenizer, FamiliesCutAsTheirPatternsSay) {
  EXPECT_EQ(split("gpt-2", "I'll go  12 x!\n\n z"), Words({"I", "'ll", " go", " ", " 12", " x", "!", "\n\n", " z"}));
  EXPECT_EQ(split("gpt-2", "I'LL"), Words({"I", "'", "LL"}));
  EXPECT_EQ(split("llama-bpe", "I'LL 12345 (x)\n\n z  "),
            Words({"I", "'LL", " ", "123", "45", " (", "x", ")\n\n", " z", "  "}));
  EXPECT_EQ(split("qwen2", "a123"), Words({"a", "1", "2", "3"}));
  EXPECT_EQ(split("starcoder", "a 123"), Words({"a", " ", "1", "2", "3"}));
  EXPECT_EQ(split("falcon", "a,b 12345"), Words({"a", ",", "b", " ", "123", "45"}));
  EXPECT_EQ(split("gpt-4o", "helloWorld's HTTPServer"), Words({"hello", "World's", " HTTPServer"}));
  EXPECT_EQ(split("tekken", "helloWorld's"), Words({"hello", "World", "'s"}));
  EXPECT_EQ(split("deepseek-coder", "ab 12\n!?"), Words({"ab", " ", "1", "2", "\n", "!?"}));
  EXPECT_EQ(split("deepseek-v3", "ab 1234 \xe4\xb8\xad\xe6\x96\x87!x"),
            Words({"ab", " ", "123", "4", " ", "\xe4\xb8\xad\xe6\x96\x87", "!x"}));
  EXPECT_EQ(split("bloom",
                  "a b,c\xe3\x80\x82"
                  "d"),
            Words({"a", " b", ",", "c", "\xe3\x80\x82", "d"}));
  EXPECT_EQ(split("superbpe", "x 1234567"), Words({"x ", "1", "234", "567"}));
  EXPECT_EQ(split("default", "a+b=123456"), Words({"a", "+", "b", "=", "123", "456"}));
}

TEST(PreTokenizer, EveryFamilyCompilesAndLosesNothing) {
  std::string message;
  try {
    pre_tokenizer_family("no such family");
  } catch (const Error& e) {
    message = e.what();
  }
  size_t n = 0;
  std::string list = message.substr(message.find("known are: ") + 11) + ", ";
  for (size_t at; (at = list.find(", ")) != std::string::npos; list.erase(0, at + 2), ++n) {
    const std::string name = list.substr(0, at);
    std::string joined;
    const std::string text = "Hi  there, I'm 12345 \xc2\xbd \xe4\xb8\xad\xe6\x96\x87\n\n\t<x> \xf0\x9f\xa6\x99!!  ";
    for (std::string_view word : split(name.c_str(), text)) joined += word;
    EXPECT_EQ(joined, text) << name;
  }
  EXPECT_GT(n, 60u);
}

TEST(PreTokenizer, PatternsNameTheirFamily) {
  const std::vector<std::string> gpt2 = {std::string(kGpt2Pattern)};
  EXPECT_EQ(find_pre_tokenizer_family(gpt2, false, false)->name, "gpt-2");
  EXPECT_EQ(find_pre_tokenizer_family(gpt2, false, true)->name, "gpt-2");
  const std::vector<std::string> llama3 = pre_tokenizer_family("llama-bpe").patterns;
  EXPECT_EQ(find_pre_tokenizer_family(llama3, true, false)->name, "llama-bpe");
  EXPECT_EQ(find_pre_tokenizer_family(llama3, false, false)->name, "dbrx");
  const std::vector<std::string> qwen = pre_tokenizer_family("qwen2").patterns;
  EXPECT_EQ(find_pre_tokenizer_family(qwen, false, true)->name, "qwen2");
  EXPECT_EQ(find_pre_tokenizer_family(qwen, false, false)->name, "stablelm2");
  // Written with characters, as in the file, or with escapes, as in the table.
  const std::vector<std::string> bloom = {
      " ?[^(\\s|[.,!?\xe2\x80\xa6\xe3\x80\x82\xef\xbc\x8c\xe3\x80\x81\xe0\xa5\xa4\xdb\x94\xd8\x8c])]+"};
  EXPECT_EQ(find_pre_tokenizer_family(bloom, false, false)->name, "bloom");
  EXPECT_EQ(find_pre_tokenizer_family(std::vector<std::string>{"x"}, false, false), nullptr);
}

TEST(Regex, WhiteSpaceIsUnicodesAndNotPcres) {
  EXPECT_EQ(split_at("\\s",
                     "a\xc2\x85"
                     "b\xe3\x80\x80"
                     "c"),
            Words({"a", "\xc2\x85", "b", "\xe3\x80\x80", "c"}));
  EXPECT_EQ(split_at("\\s",
                     "a\xe1\xa0\x8e"
                     "b"),
            Words({"a\xe1\xa0\x8e"
                   "b"}));  // U+180E is none
  EXPECT_EQ(split_at("[^\\s]+",
                     "a\xe1\xa0\x8e"
                     "b c"),
            Words({"a\xe1\xa0\x8e"
                   "b",
                   " ", "c"}));
}

TEST(Regex, ReadsOnigurumasSyntax) {
  EXPECT_EQ(to_pcre2_syntax("[a[bc]d]"), "[abcd]");
  EXPECT_EQ(to_pcre2_syntax("\\u00e9"), to_pcre2_syntax("\xc3\xa9"));
  EXPECT_EQ(to_pcre2_syntax("\\h"), "[0-9A-Fa-f]");
  EXPECT_EQ(to_pcre2_syntax("\\p{Han}\\p{Lu}\\p{Letter}"), "\\p{sc:Han}\\p{Lu}\\p{L}");
  EXPECT_EQ(to_pcre2_syntax("[]a]"), "[\\]a]");
  EXPECT_EQ(to_pcre2_syntax("\\[a\\]"), "\\[a\\]");
}

TEST(Regex, RefusesWhatPcre2WouldReadDifferently) {
  for (const char* pattern : {"[a&&b]", "[a[^b]]", "[a", "\\", "(", "\\p{Nonsense}", "[\\W]", "\\uzzzz", "\\C"}) {
    EXPECT_THROW(Regex{pattern}, Error) << pattern;
  }
}

TEST(Regex, EmptyMatchesCut) {
  EXPECT_EQ(split_at("(?=b)", "abab"), Words({"a", "ba", "b"}));
  EXPECT_EQ(split_at("x*",
                     "\xc3\xa9"
                     "a"),
            Words({"\xc3\xa9", "a"}));
  EXPECT_EQ(split_at("x*", ""), Words());
}

TEST(Regex, ExcessiveBacktrackingIsAnError) {
  try {
    split_at("(a+)+$", std::string(60, 'a') + "b");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kLimit);
  }
}

TEST(Regex, ReplacesLiterally) { EXPECT_EQ(Regex(" {2,}").replace("a   b c  ", "$1"), "a$1b c$1"); }

}  // namespace
}  // namespace hunch
