#include "grammar/regex.h"

#include "base/error.h"
#include "grammar/pattern_reader.h"

namespace hunch::grammar {
namespace {

constexpr size_t kMostDepth = 100;
constexpr uint32_t kMostRepeats = 10'000;

const CharSet kDigits = {{'0', '9'}};
const CharSet kWords = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CharSet kSpaces = {{'\t', '\r'}, {' ', ' '}};

class RegexParser {
 public:
  RegexParser(std::string_view pattern, const RegexOptions& options)
      : in_(pattern, "the regular expression"), options_(options) {}

  Expr parse() {
    Expr out = alternatives(0, options_.searches);
    if (!in_.at_end()) in_.fail("')' without '('");
    return out;
  }

 private:
  Expr anything() const { return repeat(options_.spell(CharSet::all()), 0); }

  // `searches`: what stands before and after may be anything.
  Expr alternatives(size_t depth, bool searches) {
    if (depth > kMostDepth) in_.fail("groups nest too deeply");
    std::vector<Expr> out;
    do {
      out.push_back(alternative(depth, searches));
    } while (in_.take('|'));
    return choice(std::move(out));
  }

  Expr alternative(size_t depth, bool searches) {
    std::vector<Expr> parts;
    const bool is_outer = depth == 0 || searches;
    bool begins = false, ends = false;
    while (in_.take('^')) {
      if (!is_outer) in_.fail("'^' is held at the beginning only");
      begins = true;
    }
    // One group alone stands at both ends too: (^a|b$).
    while (!in_.at_end() && in_.peek() != '|' && in_.peek() != ')') {
      if (ends) in_.fail("'$' is held at the end only");
      if (in_.take('$')) {
        if (!is_outer) in_.fail("'$' is held at the end only");
        ends = true;
        continue;
      }
      parts.push_back(quantified(depth));
    }
    Expr body = sequence(std::move(parts));
    if (!searches) return body;
    std::vector<Expr> all;
    if (!begins) all.push_back(anything());
    all.push_back(std::move(body));
    if (!ends) all.push_back(anything());
    return sequence(std::move(all));
  }

  Expr quantified(size_t depth) {
    Expr part = atom(depth);
    for (;;) {
      uint32_t least = 0, most = kNoLimit;
      if (in_.take('*')) {
      } else if (in_.take('+')) {
        least = 1;
      } else if (in_.take('?')) {
        most = 1;
      } else if (!(in_.peek() == '{' && in_.repeats(least, most, kMostRepeats))) {
        return part;
      }
      if (in_.peek() == '+') in_.fail("possessive quantifiers are not supported");
      in_.take('?');  // lazy: the same texts
      part = repeat(std::move(part), least, most);
    }
  }

  Expr atom(size_t depth) {
    const uint32_t c = in_.next();
    switch (c) {
      case '(': return group(depth);
      case '[': return options_.spell(in_.char_class([this] { return escape_set(); }));
      case '.': return options_.spell(CharSet{{'\n', '\n'}, {'\r', '\r'}}.complement());
      case '\\': return options_.spell(escape_set());
      case '*':
      case '+':
      case '?': in_.fail("a quantifier has nothing to repeat");
      case '^': in_.fail("'^' is held at the beginning only");
      default: return options_.spell({{c, c}});
    }
  }

  Expr group(size_t depth) {
    if (in_.take('?')) {
      const bool named = in_.take('P') || in_.peek() == '<';
      if (named && in_.take('<')) {
        if (in_.peek() == '=' || in_.peek() == '!') in_.fail("look-behind is not supported");
        while (!in_.take('>')) in_.next();
      } else if (!in_.take(':')) {
        in_.fail("look-ahead, flags and other groups that begin with '(?' are not supported");
      }
    }
    Expr out = alternatives(depth + 1, false);
    if (!in_.take(')')) in_.fail("'(' without ')'");
    return out;
  }

  // Behind a backslash.
  CharSet escape_set() {
    const uint32_t c = in_.next();
    switch (c) {
      case 'd': return kDigits;
      case 'D': return kDigits.complement();
      case 'w': return kWords;
      case 'W': return kWords.complement();
      case 's': return kSpaces;
      case 'S': return kSpaces.complement();
      case '0': return {{0, 0}};
      default: break;
    }
    if (c >= '1' && c <= '9') in_.fail("back references are not supported");
    const uint32_t one = in_.simple_escape(c);
    if (one != PatternReader::kNone) return {{one, one}};
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) in_.fail(fmt::format("'\\{}' is not supported", char(c)));
    return {{c, c}};
  }

  PatternReader in_;
  const RegexOptions& options_;
};

}  // namespace

Expr parse_regex(std::string_view pattern, const RegexOptions& options) {
  return RegexParser(pattern, options).parse();
}

}  // namespace hunch::grammar
