// What a grammar is made of before it is compiled: rules whose bodies are regular expressions over characters and
// rules.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "grammar/char_set.h"

namespace hunch::grammar {

class Dfa;
struct Expression;
using Expr = std::shared_ptr<const Expression>;

constexpr uint32_t kNoLimit = UINT32_MAX;

struct Expression {
  enum class Kind : uint8_t { kBytes, kChars, kSequence, kChoice, kRepeat, kFields, kRule, kDfa };
  Kind kind;
  std::string bytes = {};
  CharSet chars = {};
  std::vector<Expr> parts = {};     // of a sequence, a choice; one of a repetition; fields
  uint32_t least = 0, most = 0;     // kRepeat
  std::vector<bool> required = {};  // kFields: which of them; the others may be left out
  Expr separator = {};              // kFields: between those that are there
  uint32_t rule = 0;                // kRule: index into Rules
  std::shared_ptr<const Dfa> dfa = {};
};

Expr literal(std::string bytes);
Expr chars(CharSet set);
Expr sequence(std::vector<Expr> parts);  // of none: the empty text
Expr choice(std::vector<Expr> parts);    // of none: matches nothing
Expr repeat(Expr part, uint32_t least, uint32_t most = kNoLimit);
Expr optional(Expr part);
// Parts in this order, of which those that are not required may be left out, with a separator between two.
Expr fields(std::vector<Expr> parts, std::vector<bool> required, Expr separator);
Expr rule_ref(uint32_t rule);
Expr of_dfa(std::shared_ptr<const Dfa> dfa);

struct Rule {
  std::string name;  // as messages say it
  Expr body;
};

struct Rules {
  std::vector<Rule> rules;
  uint32_t root = 0;

  uint32_t add(std::string name, Expr body = nullptr) {
    rules.push_back({std::move(name), std::move(body)});
    return uint32_t(rules.size() - 1);
  }
};

}  // namespace hunch::grammar
