// The parsed template. Nodes are owned by their Ast and refer to each other by plain pointers, so
// that neither building nor destroying a long chain recurses.
#pragma once
#include <deque>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "jinja/value.h"

namespace hunch::jinja {

struct Expr;
struct Stmt;
using Body = std::vector<const Stmt*>;

struct Arguments {
  std::vector<const Expr*> positional;
  std::vector<std::pair<std::string, const Expr*>> named;
  const Expr* more_positional = nullptr;  // *list
  const Expr* more_named = nullptr;       // **dict
};

struct Literal {
  Value value;
};  // a string lies in the Ast
struct Name {
  std::string id;
};
struct Sequence {
  bool tuple;
  std::vector<const Expr*> items;
};
struct DictLiteral {
  std::vector<std::pair<const Expr*, const Expr*>> items;
};
struct Unary {
  char op;
  const Expr* operand;
};  // '-', '+', '!' (not)
struct Binary {
  std::string op;
  const Expr* left;
  const Expr* right;
};  // + - * / // % ** ~ and or
struct Compare {
  const Expr* first;
  std::vector<std::pair<std::string, const Expr*>> rest;
};
struct Conditional {
  const Expr* test;
  const Expr* then;
  const Expr* otherwise;
};  // otherwise may be null
struct Attribute {
  const Expr* object;
  std::string name;
};
struct Item {
  const Expr* object;
  const Expr* key;
};
struct Slice {
  const Expr* object;
  const Expr* start;
  const Expr* stop;
  const Expr* step;
};  // parts may be null
struct Call {
  const Expr* callee;
  Arguments args;
};
struct Filter {
  const Expr* input;
  std::string name;
  Arguments args;
};  // input null: the text of the block
struct Test {
  const Expr* input;
  std::string name;
  Arguments args;
};

struct Expr {
  int line;
  std::variant<Literal, Name, Sequence, DictLiteral, Unary, Binary, Compare, Conditional, Attribute, Item, Slice, Call,
               Filter, Test>
      node;
};

// What {% set %} and {% for %} assign to.
struct Target {
  std::string name;           // empty for a tuple
  std::string attribute;      // name.attribute of a namespace
  std::vector<Target> items;  // a tuple's parts
};

struct Parameter {
  std::string name;
  const Expr* fallback;
};  // fallback may be null
struct MacroDef {
  std::string name;
  std::vector<Parameter> parameters;
  Body body;
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

struct Text {
  std::string text;
};
struct Output {
  const Expr* value;
};
struct If {
  std::vector<std::pair<const Expr*, Body>> branches;
  Body otherwise;
};
struct For {
  Target target;
  const Expr* iterable;
  const Expr* filter;
  Body body;
  Body otherwise;
  bool recursive;
};
struct Set {
  Target target;
  const Expr* value;
};
struct SetBlock {
  Target target;
  const Expr* filters;
  Body body;
};  // filters may be null
struct MacroStmt {
  MacroDef macro;
};
struct CallBlock {
  MacroDef caller;
  const Expr* call;
};
struct FilterBlock {
  const Expr* filters;
  Body body;
};
struct With {
  std::vector<std::pair<Target, const Expr*>> values;
  Body body;
};  // also {% generation %}
struct Do {
  const Expr* value;
};
struct Break {};
struct Continue {};

struct Stmt {
  int line;
  std::variant<Text, Output, If, For, Set, SetBlock, MacroStmt, CallBlock, FilterBlock, With, Do, Break, Continue> node;
};

// The construct as an error message names it: "filter 'tojson'", "the tag '{% for %}'".
std::string describe(const Expr& expr);
std::string describe(const Stmt& stmt);

class Ast {
 public:
  Ast() = default;
  Ast(Ast&&) = default;
  Ast& operator=(Ast&&) = default;
  const Expr* add(Expr expr) { return &exprs_.emplace_back(std::move(expr)); }
  const Stmt* add(Stmt stmt) { return &stmts_.emplace_back(std::move(stmt)); }
  Value string(std::string text) { return Value(&strings_.emplace_back(std::move(text))); }
  Body body;

 private:
  std::deque<Expr> exprs_;
  std::deque<Stmt> stmts_;
  std::deque<std::string> strings_;
};

}  // namespace hunch::jinja
