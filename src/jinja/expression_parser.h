// The expression half of the parser: what stands inside {{ }} and inside tags.
#pragma once
#include <fmt/format.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/ast.h"
#include "jinja/lexer.h"

namespace hunch::jinja {

class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, Ast& ast) : ast_(ast), tokens_(std::move(tokens)) {}

 protected:
  // Precedence from loosest to tightest; each level parses itself and everything tighter.
  const Expr* parse_expression();  // inline if
  const Expr* parse_or();
  // One expression, or several separated by commas as a tuple. Ends before '}}', '%}', ')' or 'in'.
  const Expr* parse_tuple(bool with_inline_if = true);
  const Expr* parse_filters(const Expr* input);  // | name(args) ..., `is` tests and calls
  Arguments parse_arguments();                   // at '('

  const Token& current() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take();
  bool at_name(std::string_view name) const { return current().kind == TokenKind::kName && current().text == name; }
  bool at_operator(std::string_view op) const { return current().kind == TokenKind::kOperator && current().text == op; }
  bool skip_name(std::string_view name);
  bool skip_operator(std::string_view op);
  void expect_operator(std::string_view op, std::string_view where);
  std::string expect_name(std::string_view what);
  [[noreturn]] void fail_at(int line, const std::string& message) const { throw SyntaxFault(line, message); }
  [[noreturn]] void fail_unexpected(std::string_view expected) const;

  template <class Node>
  const Expr* make(int line, Node node) {
    return ast_.add(Expr{line, std::move(node)});
  }

  // Bounds recursion: one for each nested bracket, operand or block.
  class Depth {
   public:
    explicit Depth(ExpressionParser& parser) : parser_(parser) {
      if (++parser_.depth_ > kMaxDepth) parser_.fail_at(parser_.current().line, "nested too deeply");
    }
    ~Depth() { parser_.depth_--; }

   private:
    ExpressionParser& parser_;
  };
  static constexpr int kMaxDepth = 100;

  Ast& ast_;
  std::set<std::string> names_read_;  // since the macro began

 private:
  const Expr* parse_and();
  const Expr* parse_not();
  const Expr* parse_compare();
  const Expr* parse_sum();
  const Expr* parse_concat();
  const Expr* parse_product();
  const Expr* parse_power();
  const Expr* parse_unary(bool with_filters = true);
  const Expr* parse_primary();
  const Expr* parse_number();
  const Expr* parse_postfix(const Expr* object);
  const Expr* parse_dot(const Expr* object);
  const Expr* parse_subscript(const Expr* object);
  const Expr* parse_test(const Expr* input);
  const Expr* parse_list();
  const Expr* parse_dict();
  std::string parse_dotted_name(std::string_view what);
  bool at_tuple_end() const;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace hunch::jinja
