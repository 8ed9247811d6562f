#include "grammar/gbnf.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "grammar/pattern_reader.h"

namespace hunch::grammar {
namespace {

constexpr size_t kMostGroups = 100;
constexpr uint32_t kMostCount = 10'000;
constexpr size_t kMostRules = 20'000;

bool is_name_char(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

class GbnfParser {
 public:
  explicit GbnfParser(std::string_view text) : in_(text, "the grammar") {}

  Rules parse() {
    skip(true);
    while (!in_.at_end()) rule();
    if (const auto root = ids_.find("root"); root == ids_.end() || !rules_.rules[root->second].body) {
      fail(ErrorKind::kUsage, "the grammar has no rule 'root'");
    } else {
      rules_.root = root->second;
    }
    return std::move(rules_);
  }

 private:
  // White space and comments; line ends too only where a rule may go on behind them.
  void skip(bool over_lines) {
    for (;;) {
      const char c = in_.peek();
      if (c == '#') {
        while (!in_.at_end() && in_.peek() != '\n') in_.go_to(in_.at() + 1);
      } else if (c == ' ' || c == '\t' || c == '\r' || (c == '\n' && over_lines)) {
        in_.go_to(in_.at() + 1);
      } else {
        return;
      }
    }
  }

  std::string name() {
    const size_t first = in_.at();
    while (is_name_char(in_.peek())) in_.go_to(in_.at() + 1);
    if (in_.at() == first) in_.fail("expected a name");
    return std::string(in_.from(first));
  }
  uint32_t id_of(const std::string& name) {
    const auto [at, is_new] = ids_.try_emplace(name, uint32_t(rules_.rules.size()));
    if (is_new) rules_.add(name);
    if (rules_.rules.size() > kMostRules) in_.fail(fmt::format("more than {} rules", kMostRules));
    return at->second;
  }

  void rule() {
    const uint32_t id = id_of(name());
    skip(false);
    if (!(in_.take(':') && in_.take(':') && in_.take('='))) in_.fail("expected '::='");
    skip(true);
    if (rules_.rules[id].body) in_.fail(fmt::format("the rule '{}' is defined twice", rules_.rules[id].name));
    Expr body = alternatives(0);
    rules_.rules[id].body = std::move(body);
    skip(true);
  }

  Expr alternatives(size_t depth) {
    if (depth > kMostGroups) in_.fail("groups nest too deeply");
    std::vector<Expr> out;
    for (;;) {
      out.push_back(alternative(depth));
      // An alternative may stand on the next line, which begins with |.
      const size_t before = in_.at();
      skip(true);
      if (!in_.take('|')) {
        if (depth == 0) in_.go_to(before);
        return choice(std::move(out));
      }
      skip(true);
    }
  }

  Expr alternative(size_t depth) {
    std::vector<Expr> parts;
    for (;;) {
      skip(depth > 0);
      const char c = in_.peek();
      if (c == '"') {
        parts.push_back(quantified(text()));
      } else if (c == '[') {
        in_.take('[');
        parts.push_back(quantified(chars(in_.char_class([this] { return escape(); }))));
      } else if (c == '.') {
        in_.take('.');
        parts.push_back(quantified(chars(CharSet::all())));
      } else if (c == '(') {
        in_.take('(');
        skip(true);
        Expr group = alternatives(depth + 1);
        skip(true);
        if (!in_.take(')')) in_.fail("'(' without ')'");
        parts.push_back(quantified(std::move(group)));
      } else if (is_name_char(c)) {
        parts.push_back(quantified(rule_ref(id_of(name()))));
      } else if (in_.at_end() || c == '\n' || c == '|' || (c == ')' && depth > 0)) {
        return sequence(std::move(parts));
      } else {
        in_.fail(fmt::format("'{}' is not expected here", c));
      }
    }
  }

  Expr quantified(Expr part) {
    for (;;) {
      const size_t before = in_.at();
      skip(false);
      uint32_t least = 0, most = kNoLimit;
      if (in_.take('*')) {
      } else if (in_.take('+')) {
        least = 1;
      } else if (in_.take('?')) {
        most = 1;
      } else if (in_.peek() == '{') {
        if (!in_.repeats(least, most, kMostCount)) in_.fail("expected {n}, {n,} or {n,m}");
      } else {
        in_.go_to(before);
        return part;
      }
      part = repeat(std::move(part), least, most);
    }
  }

  Expr text() {
    in_.take('"');
    std::vector<Expr> out;
    while (!in_.take('"')) {
      const size_t first = in_.at();
      const uint32_t c = in_.next();
      if (c == '\\') {
        out.push_back(chars(escape()));
      } else {
        out.push_back(literal(std::string(in_.from(first))));
      }
    }
    return sequence(std::move(out));
  }

  CharSet escape() {
    const uint32_t c = in_.next();
    const uint32_t one = in_.simple_escape(c);
    if (one != PatternReader::kNone) return {{one, one}};
    if (std::string_view("\"\\[]-^/").find(char(c)) == std::string_view::npos || c > 127)
      in_.fail("there is no such escape");
    return {{c, c}};
  }

  PatternReader in_;
  Rules rules_;
  std::map<std::string, uint32_t> ids_;
};

}  // namespace

Rules parse_gbnf(std::string_view text) { return GbnfParser(text).parse(); }

}  // namespace hunch::grammar
