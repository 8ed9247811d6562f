// GBNF and regular expressions: what they match, and what they refuse.
#include "grammar/gbnf.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "grammar/dfa.h"
#include "grammar/regex.h"
#include "grammar/states.h"

namespace hunch::grammar {
namespace {

bool matches(const Rules& rules, std::string_view text) {
  const Automaton automaton(rules);
  States states(automaton);
  States::Id at = states.start();
  for (const char c : text)
    if (at = states.step(at, uint8_t(c)); at == States::kDead) return false;
  return states.is_complete(at);
}
bool gbnf(std::string_view grammar, std::string_view text) { return matches(parse_gbnf(grammar), text); }
bool regex(std::string_view pattern, std::string_view text, bool searches = false) {
  Rules rules;
  rules.add("root", parse_regex(pattern, {.searches = searches}));
  const bool out = matches(rules, text);
  EXPECT_EQ(Dfa(rules.rules[0].body).matches(text), out) << pattern << " of " << text;
  return out;
}

std::string refused(const std::function<void()>& parse) {
  try {
    parse();
  } catch (const Error& e) {
    EXPECT_TRUE(e.kind() == ErrorKind::kUsage || e.kind() == ErrorKind::kLimit);
    return e.what();
  }
  return "-";
}

TEST(Gbnf, RulesTextsClassesGroupsAndCounts) {
  const char* const list = R"(# a list
root ::= "- " item ("\n- " item)*   # of items
item ::= [a-z]+ ( " " [^\n0-9] )? |
  "\u00e4" "\x41" | [\-\]]{2,3} | . "!"
)";
  EXPECT_TRUE(gbnf(list, "- abc\n- x Z"));
  EXPECT_TRUE(gbnf(list, "- \u00e4A"));
  EXPECT_TRUE(gbnf(list, "- ]-]"));
  EXPECT_TRUE(gbnf(list, "- \U0001F600!"));
  EXPECT_FALSE(gbnf(list, "- x 5"));
  EXPECT_FALSE(gbnf(list, "- ]"));
  EXPECT_FALSE(gbnf(list, "- abc\n"));
  EXPECT_FALSE(gbnf(list, "- \xC3!"));
}

TEST(Gbnf, RulesMayHoldThemselves) {
  const char* const sums = "root ::= term ([-+] term)*\nterm ::= [0-9]+ | \"(\" root \")\"\n";
  EXPECT_TRUE(gbnf(sums, "1+(2-(33))"));
  EXPECT_FALSE(gbnf(sums, "1+(2-(33)"));
  EXPECT_FALSE(gbnf(sums, "1+"));
  EXPECT_TRUE(gbnf("root ::= \"a\" root \"b\" | \"\"", "aaabbb"));
  EXPECT_FALSE(gbnf("root ::= \"a\" root \"b\" | \"\"", "aaabb"));
  // Parts that may be empty, in front of the recursion and around it.
  EXPECT_TRUE(gbnf("root ::= x y \"c\"\nx ::= \"a\"*\ny ::= \"b\"?", "c"));
  EXPECT_TRUE(gbnf("root ::= x y \"c\"\nx ::= \"a\"*\ny ::= \"b\"?", "aabc"));
}

TEST(Gbnf, WhatIsWrongIsSaid) {
  const auto parse = [](const char* text) { return refused([&] { Automaton{parse_gbnf(text)}; }); };
  EXPECT_NE(parse("a ::= \"x\"").find("no rule 'root'"), std::string::npos);
  EXPECT_NE(parse("root ::= nobody").find("'nobody', which is not defined"), std::string::npos);
  EXPECT_NE(parse("root ::= root \"a\" | \"b\"").find("'root' begins with itself"), std::string::npos);
  EXPECT_NE(parse("root ::= a\na ::= \"x\"? b\nb ::= a \"y\" | \"z\"").find("begins with itself"), std::string::npos);
  EXPECT_NE(parse("root ::= \"a\" root").find("no text matches"), std::string::npos);
  EXPECT_NE(parse("root ::= [a-z]{99999}").find("more than 10000 repetitions"), std::string::npos);
  EXPECT_NE(parse("root ::= ([a-z]{9999}){9999}").find("too large"), std::string::npos);
  for (const char* text : {"root = \"a\"", "root ::= \"a", "root ::= (\"a\"", "root ::= [a", "root ::= [z-a]",
                           "root ::= \"a\"{3,2}", "root ::= \"\\q\"", "root ::= \"a\"\nroot ::= \"b\"", "root ::= *",
                           "root ::= \"\\ud800\"", "root ::= \"\xff\""})
    EXPECT_NE(parse(text), "-") << text;
}

TEST(Gbnf, AnAmbiguousGrammarStaysPolynomial) {
  const Rules rules = parse_gbnf("root ::= s\ns ::= \"a\" s s | \"a\" s | \"a\"\n");
  const Automaton automaton(rules);
  States states(automaton);
  States::Id at = states.start();
  for (int i = 0; i < 150; ++i) at = states.step(at, 'a');  // more ways than there are atoms
  EXPECT_TRUE(states.is_complete(at));
  EXPECT_LT(states.places(at).size(), 1500u);
}

TEST(Regex, MatchesAsPerlDoes) {
  EXPECT_TRUE(regex("a|bc*", "bccc"));
  EXPECT_TRUE(regex("(?:ab){2,3}?", "abab"));
  EXPECT_FALSE(regex("(?:ab){2,3}", "ab"));
  EXPECT_TRUE(regex("\\d{4}-\\d\\d-\\d\\d", "2026-11-28"));
  EXPECT_FALSE(regex("\\d+", "1a"));
  EXPECT_TRUE(regex("[^\\s,]+(, [\\w.-]+)*", "a, b.c"));
  EXPECT_TRUE(regex("^a$", "a"));
  EXPECT_TRUE(regex("x{,3}", "xx"));
  EXPECT_TRUE(regex("\\u00e4\\x41\\.\\/", "\u00e4A./"));
  EXPECT_TRUE(regex("(?P<year>[0-9]+)", "12"));
  EXPECT_TRUE(regex("", ""));
  EXPECT_TRUE(regex("b+", "abbc", true));
  EXPECT_FALSE(regex("^b+", "abbc", true));
  EXPECT_TRUE(regex("^a|c$", "abbc", true));
  EXPECT_FALSE(regex("^(a|b)$", "ab", true));
  for (const char* wrong : {"(a", "a)", "[a", "*a", "a{3,2}", "(?=a)", "(?<!a)b", "\\1", "\\b", "\\p{L}", "a$b",
                            "a(^b)", "a++", "\\", "(?i)a"})
    EXPECT_NE(refused([&] { regex(wrong, "a"); }), "-") << wrong;
}

TEST(Dfa, BothAndWithout) {
  const Dfa a(parse_regex("[ab]{1,3}")), b(parse_regex("a.*"));
  EXPECT_TRUE(Dfa::both(a, b)->matches("ab"));
  EXPECT_FALSE(Dfa::both(a, b)->matches("ba"));
  EXPECT_TRUE(Dfa::without(a, b)->matches("ba"));
  EXPECT_FALSE(Dfa::without(a, b)->matches("ab"));
  EXPECT_TRUE(Dfa::both(a, b)->matches_any());
  EXPECT_FALSE(Dfa::without(a, a)->matches_any());
}

TEST(CharSet, RangesOfBytesAreTheUtf8OfTheirCharacters) {
  const CharSet odd = {{'a', 'a'}, {0x7F, 0x801}, {0xD000, 0xE010}, {0xFFFE, 0x1FFFF}, {0x10FFFF, 0x10FFFF}};
  for (const CharSet& set : {odd, odd.complement(), CharSet::all()}) {
    const Dfa dfa(chars(set));
    for (uint32_t c = 0; c <= kLastChar; c += c < 0x3000 ? 1 : 61) {
      std::string text;
      if (c < 0x80)
        text = {char(c)};
      else if (c < 0x800)
        text = {char(0xC0 | c >> 6), char(0x80 | (c & 63))};
      else if (c < 0x10000)
        text = {char(0xE0 | c >> 12), char(0x80 | (c >> 6 & 63)), char(0x80 | (c & 63))};
      else
        text = {char(0xF0 | c >> 18), char(0x80 | (c >> 12 & 63)), char(0x80 | (c >> 6 & 63)), char(0x80 | (c & 63))};
      ASSERT_EQ(dfa.matches(text), set.contains(c)) << c;
    }
    EXPECT_FALSE(set.contains(0xD800));
  }
}

}  // namespace
}  // namespace hunch::grammar
