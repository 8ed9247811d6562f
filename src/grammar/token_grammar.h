// A grammar over the tokens of a vocabulary: which of them may follow, in every state.
//
// Most tokens are decided by the state alone: they are within its rule, or no beginning of it. That is found out once
// for a set of states, by one walk over the tokens' tree, and kept; what remains is where a rule can end within a
// token, and is decided by what follows the rule in the text at hand (the observation of XGrammar, Dong et al. 2024,
// arXiv:2411.15100).
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "grammar/automaton.h"
#include "grammar/states.h"
#include "grammar/token_trie.h"

namespace hunch::grammar {

// May be shared by threads.
class TokenGrammar {
 public:
  // Throws as Automaton.
  TokenGrammar(const Rules& rules, std::shared_ptr<const TokenTrie> trie);

  const Automaton& automaton() const { return automaton_; }
  const TokenTrie& trie() const { return *trie_; }

  struct Within {
    std::vector<uint64_t> allowed;  // bit i: token i stays within the rule, or ends with it
    std::vector<uint32_t> exits;    // nodes of the trie with others below, where the rule can end
  };
  // Of places with these states of one rule.
  std::shared_ptr<const Within> within(std::span<const uint32_t> states) const;

 private:
  void classify();
  Within walk(std::span<const uint32_t> states) const;

  const Automaton automaton_;
  const std::shared_ptr<const TokenTrie> trie_;
  // States of one kind differ in nothing that a token could tell: those far from the end of a long repetition.
  std::vector<uint64_t> kinds_;
  mutable std::mutex mutex_;
  mutable std::optional<States> states_;  // of the walks
  mutable std::map<std::vector<uint64_t>, std::shared_ptr<const Within>> within_;
};

// One text that is made: its state after each token. References to the mask hold until the next call.
class Matcher {
 public:
  explicit Matcher(std::shared_ptr<const TokenGrammar> grammar);

  // Bit i of word i / 64: token i may follow. Tokens that end the text may where it is complete.
  std::span<const uint64_t> mask();
  // False, and nothing changes, where the token is not allowed.
  bool accept(int32_t token);
  bool accept_bytes(std::string_view bytes);  // counts as a token
  void go_back(size_t n_tokens);
  size_t n_accepted() const { return path_.size() - 1; }
  bool is_complete() const { return has_ended_ || states_.is_complete(path_.back()); }
  // Nothing but the end may follow.
  bool is_over() const { return has_ended_ || states_.is_over(path_.back()); }

 private:
  void add(States::Id from, uint32_t node, std::vector<uint64_t>& mask);

  const std::shared_ptr<const TokenGrammar> grammar_;
  States states_;
  std::vector<States::Id> path_;  // before the first token, after each
  bool has_ended_ = false;        // a token that ends was the last
  std::map<States::Id, std::vector<uint64_t>> masks_;
};

}  // namespace hunch::grammar
