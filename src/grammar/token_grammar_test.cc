// Masks say of each token what trying it says, whatever the grammar and the vocabulary.
#include "grammar/token_grammar.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "grammar/gbnf.h"

namespace hunch::grammar {
namespace {

constexpr const char* kJson = R"(
root ::= value
value ::= object | array | string | number | "true" | "null"
object ::= "{" ws (pair ("," ws pair)*)? ws "}"
pair ::= string ws ":" ws value
array ::= "[" ws (value ("," ws value)*)? ws "]"
string ::= "\"" ([^"\\\x00-\x1f] | "\\" ["\\/bfnrt])* "\""
number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)?
ws ::= [ \n]{0,3}
)";

// Every byte, and made-up tokens of up to 6 bytes that such texts have.
std::shared_ptr<const TokenTrie> vocabulary(uint64_t seed, size_t n) {
  std::mt19937_64 random(seed);
  std::vector<std::string> tokens = {"", ""};
  for (int b = 0; b < 256; ++b) tokens.push_back({char(b)});
  const std::string_view letters = "{}[]\",: \n\\ab01-.truenl\xC3\xA4";
  while (tokens.size() < n) {
    std::string token;
    for (size_t i = 1 + random() % 6; i > 0; --i) token += letters[random() % letters.size()];
    tokens.push_back(token);
  }
  return std::make_shared<TokenTrie>(std::move(tokens), std::vector<int32_t>{0});
}

bool allows(std::span<const uint64_t> mask, int32_t id) { return mask[size_t(id) / 64] >> (id % 64) & 1; }

// Walks at random through texts of the grammar, and tries every token at every step.
void expect_masks_say_the_truth(const char* grammar, uint64_t seed, size_t n_steps) {
  const auto trie = vocabulary(seed, 900);
  const auto compiled = std::make_shared<TokenGrammar>(parse_gbnf(grammar), trie);
  std::mt19937_64 random(seed);
  Matcher matcher(compiled);
  for (size_t step = 0; step < n_steps; ++step) {
    const std::span<const uint64_t> words = matcher.mask();
    const std::vector<uint64_t> mask(words.begin(), words.end());
    std::vector<int32_t> allowed;
    for (int32_t id = 0; id < int32_t(trie->n_tokens()); ++id) {
      const bool accepted = matcher.accept(id);
      if (accepted) matcher.go_back(1);
      ASSERT_EQ(allows(mask, id), accepted) << "token " << id << " '" << trie->bytes(id) << "' at step " << step;
      if (accepted) allowed.push_back(id);
    }
    EXPECT_EQ(allows(mask, 0), matcher.is_complete());
    EXPECT_FALSE(allows(mask, 1));  // without text
    ASSERT_FALSE(allowed.empty()) << "a dead end";
    ASSERT_TRUE(matcher.accept(allowed[random() % allowed.size()]));
    if (matcher.is_over()) matcher.go_back(1 + random() % matcher.n_accepted());
  }
}

TEST(TokenGrammar, MasksSayWhatTryingSays) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    expect_masks_say_the_truth(kJson, seed, 60);
    expect_masks_say_the_truth("root ::= \"a\" root \"b\" | \"ab\"* \"0\"", seed, 40);
    expect_masks_say_the_truth("root ::= x{2,40} \":\"?\nx ::= [a-b] | \"{\" x \"}\" | \"\u00e4\"", seed, 40);
    expect_masks_say_the_truth("root ::= s\ns ::= \"a\" s s | \"a\" s | \"a\"", seed, 12);
  }
}

TEST(Matcher, GoesBackAndEndsWhereNothingElseIsAllowed) {
  const auto trie = vocabulary(1, 300);
  Matcher matcher(std::make_shared<TokenGrammar>(parse_gbnf("root ::= \"ab\" \"c\"?"), trie));
  const auto byte = [](char c) { return int32_t(2 + uint8_t(c)); };
  EXPECT_FALSE(matcher.accept(byte('b')));
  ASSERT_TRUE(matcher.accept(byte('a')) && matcher.accept(byte('b')));
  EXPECT_TRUE(matcher.is_complete() && !matcher.is_over());
  ASSERT_TRUE(matcher.accept(0));
  EXPECT_TRUE(matcher.is_over());
  EXPECT_FALSE(matcher.accept(byte('c')));
  matcher.go_back(1);
  ASSERT_TRUE(matcher.accept(byte('c')));
  EXPECT_TRUE(matcher.is_over());
  matcher.go_back(3);
  EXPECT_EQ(matcher.n_accepted(), 0u);
  EXPECT_TRUE(matcher.accept(byte('a')));
  EXPECT_FALSE(matcher.accept(0));
}

TEST(TokenGrammar, StatesFarFromTheEndOfARepetitionShareTheirTokens) {
  const auto trie = vocabulary(1, 600);
  const TokenGrammar grammar(parse_gbnf("root ::= [ab]{0,1000}"), trie);
  States states(grammar.automaton());
  States::Id at = states.start();
  const auto within_now = [&] {
    std::vector<uint32_t> q;
    for (const States::Place& p : states.places(at)) q.push_back(p.state);
    return grammar.within(q);
  };
  const auto begin = within_now();
  for (int i = 0; i < 900; ++i) at = states.step(at, 'a');
  EXPECT_EQ(within_now(), begin);
  for (int i = 0; i < 98; ++i) at = states.step(at, 'a');
  EXPECT_NE(within_now(), begin);
}

}  // namespace
}  // namespace hunch::grammar
