#include "grammar/expression.h"

namespace hunch::grammar {
namespace {

Expr make(Expression e) { return std::make_shared<const Expression>(std::move(e)); }
using Kind = Expression::Kind;

}  // namespace

Expr literal(std::string bytes) { return make({.kind = Kind::kBytes, .bytes = std::move(bytes)}); }
Expr chars(CharSet set) { return make({.kind = Kind::kChars, .chars = std::move(set)}); }
Expr sequence(std::vector<Expr> parts) {
  return parts.size() == 1 ? parts[0] : make({.kind = Kind::kSequence, .parts = std::move(parts)});
}
Expr choice(std::vector<Expr> parts) {
  return parts.size() == 1 ? parts[0] : make({.kind = Kind::kChoice, .parts = std::move(parts)});
}
Expr repeat(Expr part, uint32_t least, uint32_t most) {
  return make({.kind = Kind::kRepeat, .parts = {std::move(part)}, .least = least, .most = most});
}
Expr optional(Expr part) { return repeat(std::move(part), 0, 1); }
Expr fields(std::vector<Expr> parts, std::vector<bool> required, Expr separator) {
  return make({.kind = Kind::kFields,
               .parts = std::move(parts),
               .required = std::move(required),
               .separator = std::move(separator)});
}
Expr rule_ref(uint32_t rule) { return make({.kind = Kind::kRule, .rule = rule}); }
Expr of_dfa(std::shared_ptr<const Dfa> dfa) { return make({.kind = Kind::kDfa, .dfa = std::move(dfa)}); }

}  // namespace hunch::grammar
