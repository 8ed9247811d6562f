#include "jinja/expression_parser.h"

#include <charconv>
#include <cstdlib>

namespace hunch::jinja {
namespace {

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd: return "the end of the template";
    case TokenKind::kOutputEnd: return "'}}'";
    case TokenKind::kTagEnd: return "'%}'";
    case TokenKind::kOutputBegin: return "'{{'";
    case TokenKind::kTagBegin: return "'{%'";
    case TokenKind::kString: return "a string";
    case TokenKind::kText: return "text";
    default: return fmt::format("'{}'", token.text);
  }
}

}  // namespace

Token ExpressionParser::take() {
  Token token = current();
  if (at_ + 1 < tokens_.size()) at_++;
  return token;
}

bool ExpressionParser::skip_name(std::string_view name) {
  if (!at_name(name)) return false;
  take();
  return true;
}

bool ExpressionParser::skip_operator(std::string_view op) {
  if (!at_operator(op)) return false;
  take();
  return true;
}

void ExpressionParser::expect_operator(std::string_view op, std::string_view where) {
  if (!skip_operator(op)) fail_unexpected(fmt::format("'{}' {}", op, where));
}

std::string ExpressionParser::expect_name(std::string_view what) {
  if (current().kind != TokenKind::kName) fail_unexpected(what);
  return take().text;
}

void ExpressionParser::fail_unexpected(std::string_view expected) const {
  fail_at(current().line, fmt::format("expected {}, found {}", expected, describe(current())));
}

const Expr* ExpressionParser::parse_expression() {
  Depth depth(*this);
  const int line = current().line;
  const Expr* value = parse_or();
  while (skip_name("if")) {
    const Expr* test = parse_or();
    const Expr* otherwise = skip_name("else") ? parse_expression() : nullptr;
    value = make(line, Conditional{test, value, otherwise});
  }
  return value;
}

const Expr* ExpressionParser::parse_or() {
  const Expr* left = parse_and();
  while (at_name("or")) {
    const int line = take().line;
    const Expr* right = parse_and();
    left = make(line, Binary{"or", left, right});
  }
  return left;
}

const Expr* ExpressionParser::parse_and() {
  const Expr* left = parse_not();
  while (at_name("and")) {
    const int line = take().line;
    const Expr* right = parse_not();
    left = make(line, Binary{"and", left, right});
  }
  return left;
}

const Expr* ExpressionParser::parse_not() {
  if (!at_name("not")) return parse_compare();
  Depth depth(*this);
  const int line = take().line;
  const Expr* operand = parse_not();
  return make(line, Unary{'!', operand});
}

const Expr* ExpressionParser::parse_compare() {
  const int line = current().line;
  const Expr* first = parse_sum();
  std::vector<std::pair<std::string, const Expr*>> rest;
  while (true) {
    std::string op;
    if (current().kind == TokenKind::kOperator) {
      for (const char* candidate : {"==", "!=", "<=", ">=", "<", ">"}) {
        if (current().text == candidate) op = candidate;
      }
    } else if (at_name("in")) {
      op = "in";
    } else if (at_name("not") && next().kind == TokenKind::kName && next().text == "in") {
      take();
      op = "not in";
    }
    if (op.empty()) break;
    take();
    const Expr* operand = parse_sum();
    rest.emplace_back(op, operand);
  }
  return rest.empty() ? first : make(line, Compare{first, std::move(rest)});
}

const Expr* ExpressionParser::parse_sum() {
  const Expr* left = parse_concat();
  while (at_operator("+") || at_operator("-")) {
    const Token op = take();
    const Expr* right = parse_concat();
    left = make(op.line, Binary{op.text, left, right});
  }
  return left;
}

const Expr* ExpressionParser::parse_concat() {
  const Expr* left = parse_product();
  while (at_operator("~")) {
    const int line = take().line;
    const Expr* right = parse_product();
    left = make(line, Binary{"~", left, right});
  }
  return left;
}

const Expr* ExpressionParser::parse_product() {
  const Expr* left = parse_power();
  while (at_operator("*") || at_operator("/") || at_operator("//") || at_operator("%")) {
    const Token op = take();
    const Expr* right = parse_power();
    left = make(op.line, Binary{op.text, left, right});
  }
  return left;
}

// Unlike in Python, ** is left-associative and weaker than a sign.
const Expr* ExpressionParser::parse_power() {
  const Expr* left = parse_unary();
  while (at_operator("**")) {
    const int line = take().line;
    const Expr* right = parse_unary();
    left = make(line, Binary{"**", left, right});
  }
  return left;
}

const Expr* ExpressionParser::parse_unary(bool with_filters) {
  Depth depth(*this);
  const Expr* value = nullptr;
  if (at_operator("-") || at_operator("+")) {
    const Token op = take();
    const Expr* operand = parse_unary(false);
    value = make(op.line, Unary{op.text[0], operand});
  } else {
    value = parse_primary();
  }
  value = parse_postfix(value);
  return with_filters ? parse_filters(value) : value;
}

const Expr* ExpressionParser::parse_primary() {
  const Token& token = current();
  const int line = token.line;
  switch (token.kind) {
    case TokenKind::kName: {
      const std::string id = take().text;
      if (id == "true" || id == "True") return make(line, Literal{Value(true)});
      if (id == "false" || id == "False") return make(line, Literal{Value(false)});
      if (id == "none" || id == "None") return make(line, Literal{Value()});
      names_read_.insert(id);
      return make(line, Name{id});
    }
    case TokenKind::kString: {
      std::string text = take().text;
      while (current().kind == TokenKind::kString) text += take().text;
      return make(line, Literal{ast_.string(std::move(text))});
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat: return parse_number();
    default: break;
  }
  if (at_operator("[")) return parse_list();
  if (at_operator("{")) return parse_dict();
  if (skip_operator("(")) {
    const Expr* value = at_operator(")") ? make(line, Sequence{true, {}}) : parse_tuple();
    expect_operator(")", "after '('");
    return value;
  }
  fail_unexpected("an expression");
}

const Expr* ExpressionParser::parse_number() {
  const Token token = take();
  if (token.kind == TokenKind::kFloat) {
    return make(token.line, Literal{Value(std::strtod(token.text.c_str(), nullptr))});
  }
  int64_t value = 0;
  const char* end = token.text.data() + token.text.size();
  const auto result = std::from_chars(token.text.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) {
    fail_at(token.line, fmt::format("the number {} is too large", token.text));
  }
  return make(token.line, Literal{Value(Int(value))});
}

bool ExpressionParser::at_tuple_end() const {
  return current().kind == TokenKind::kOutputEnd || current().kind == TokenKind::kTagEnd || at_operator(")") ||
         current().kind == TokenKind::kEnd || at_name("in") || at_name("recursive");
}

const Expr* ExpressionParser::parse_tuple(bool with_inline_if) {
  const int line = current().line;
  std::vector<const Expr*> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) {
      if (!skip_operator(",")) break;
      is_tuple = true;
    }
    if (is_tuple && at_tuple_end()) break;
    items.push_back(with_inline_if ? parse_expression() : parse_or());
  }
  return is_tuple ? make(line, Sequence{true, std::move(items)}) : items.front();
}

const Expr* ExpressionParser::parse_list() {
  const int line = take().line;
  std::vector<const Expr*> items;
  while (!at_operator("]")) {
    if (!items.empty()) expect_operator(",", "between the items of a list");
    if (at_operator("]")) break;
    items.push_back(parse_expression());
  }
  take();
  return make(line, Sequence{false, std::move(items)});
}

const Expr* ExpressionParser::parse_dict() {
  const int line = take().line;
  std::vector<std::pair<const Expr*, const Expr*>> items;
  while (!at_operator("}")) {
    if (!items.empty()) expect_operator(",", "between the items of a dict");
    if (at_operator("}")) break;
    const Expr* key = parse_expression();
    expect_operator(":", "after the key of a dict");
    items.emplace_back(key, parse_expression());
  }
  take();
  return make(line, DictLiteral{std::move(items)});
}

const Expr* ExpressionParser::parse_postfix(const Expr* object) {
  while (true) {
    if (at_operator(".")) {
      object = parse_dot(object);
    } else if (at_operator("[")) {
      object = parse_subscript(object);
    } else if (at_operator("(")) {
      const int line = current().line;
      object = make(line, Call{object, parse_arguments()});
    } else {
      return object;
    }
  }
}

const Expr* ExpressionParser::parse_dot(const Expr* object) {
  const int line = take().line;
  if (current().kind == TokenKind::kInteger) return make(line, Item{object, parse_number()});
  return make(line, Attribute{object, expect_name("a name after '.'")});
}

const Expr* ExpressionParser::parse_subscript(const Expr* object) {
  const int line = take().line;
  const Expr* parts[3] = {nullptr, nullptr, nullptr};
  size_t n_colons = 0;
  while (!at_operator("]")) {
    if (at_operator(":")) {
      take();
      if (++n_colons > 2) fail_at(line, "a slice has at most three parts");
    } else if (at_operator(",")) {
      if (n_colons > 0) fail_at(line, "a subscript of several slices is not supported");
      std::vector<const Expr*> items{parts[0]};
      while (skip_operator(",") && !at_operator("]")) items.push_back(parse_expression());
      if (!items[0]) fail_unexpected("a subscript");
      parts[0] = make(line, Sequence{true, std::move(items)});
      break;
    } else {
      if (parts[n_colons]) fail_unexpected("']' after a subscript");
      parts[n_colons] = parse_expression();
    }
  }
  expect_operator("]", "after a subscript");
  if (n_colons > 0) return make(line, Slice{object, parts[0], parts[1], parts[2]});
  if (!parts[0]) fail_at(line, "the subscript '[]' is empty");
  return make(line, Item{object, parts[0]});
}

Arguments ExpressionParser::parse_arguments() {
  Depth depth(*this);
  Arguments args;
  expect_operator("(", "before arguments");
  bool first = true;
  while (!at_operator(")")) {
    if (!first) expect_operator(",", "between arguments");
    if (at_operator(")")) break;
    first = false;
    if (skip_operator("*")) {
      if (args.more_positional || args.more_named) fail_unexpected("only one '*' argument");
      args.more_positional = parse_expression();
    } else if (skip_operator("**")) {
      if (args.more_named) fail_unexpected("only one '**' argument");
      args.more_named = parse_expression();
    } else if (current().kind == TokenKind::kName && next().kind == TokenKind::kOperator && next().text == "=") {
      std::string name = take().text;
      take();
      args.named.emplace_back(std::move(name), parse_expression());
    } else {
      if (!args.named.empty() || args.more_positional || args.more_named) fail_unexpected("a named argument");
      args.positional.push_back(parse_expression());
    }
  }
  take();
  return args;
}

std::string ExpressionParser::parse_dotted_name(std::string_view what) {
  std::string name = expect_name(what);
  while (at_operator(".")) {
    take();
    name += "." + expect_name(what);
  }
  return name;
}

const Expr* ExpressionParser::parse_filters(const Expr* input) {
  while (true) {
    const int line = current().line;
    if (skip_operator("|")) {
      std::string name = parse_dotted_name("the name of a filter");
      Arguments args = at_operator("(") ? parse_arguments() : Arguments{};
      input = make(line, Filter{input, std::move(name), std::move(args)});
    } else if (at_name("is") && input) {
      input = parse_test(input);
    } else if (at_operator("(") && input) {
      input = make(line, Call{input, parse_arguments()});
    } else {
      return input;
    }
  }
}

const Expr* ExpressionParser::parse_test(const Expr* input) {
  const int line = take().line;
  const bool negated = skip_name("not");
  std::string name = parse_dotted_name("the name of a test");
  Arguments args;
  const bool takes_operand = current().kind == TokenKind::kString || current().kind == TokenKind::kInteger ||
                             current().kind == TokenKind::kFloat || at_operator("[") || at_operator("{") ||
                             (current().kind == TokenKind::kName && !at_name("else") && !at_name("or") &&
                              !at_name("and") && !at_name("if") && !at_name("in") && !at_name("not"));
  if (at_operator("(")) {
    args = parse_arguments();
  } else if (takes_operand) {
    if (at_name("is")) fail_at(line, "tests cannot be chained with 'is'; use 'and'");
    args.positional.push_back(parse_postfix(parse_primary()));
  }
  const Expr* test = make(line, Test{input, std::move(name), std::move(args)});
  return negated ? make(line, Unary{'!', test}) : test;
}

}  // namespace hunch::jinja
