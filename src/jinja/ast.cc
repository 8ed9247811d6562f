#include "jinja/ast.h"

#include <fmt/format.h>

namespace hunch::jinja {
namespace {

struct DescribeExpr {
  std::string operator()(const Literal&) const { return "a literal"; }
  std::string operator()(const Name& n) const { return fmt::format("'{}'", n.id); }
  std::string operator()(const Sequence& n) const { return n.tuple ? "a tuple" : "a list"; }
  std::string operator()(const DictLiteral&) const { return "a dict literal"; }
  std::string operator()(const Unary& n) const {
    return n.op == '!' ? "operator 'not'" : fmt::format("unary operator '{}'", n.op);
  }
  std::string operator()(const Binary& n) const { return fmt::format("operator '{}'", n.op); }
  std::string operator()(const Compare& n) const { return fmt::format("operator '{}'", n.rest.front().first); }
  std::string operator()(const Conditional&) const { return "an inline if"; }
  std::string operator()(const Attribute& n) const { return fmt::format("attribute '.{}'", n.name); }
  std::string operator()(const Item&) const { return "a subscript"; }
  std::string operator()(const Slice&) const { return "a slice"; }
  std::string operator()(const Call& n) const {
    if (const auto* name = std::get_if<Name>(&n.callee->node)) return fmt::format("the call of '{}'", name->id);
    if (const auto* a = std::get_if<Attribute>(&n.callee->node)) return fmt::format("the call of '.{}'", a->name);
    return "a call";
  }
  std::string operator()(const Filter& n) const { return fmt::format("filter '{}'", n.name); }
  std::string operator()(const Test& n) const { return fmt::format("test '{}'", n.name); }
};

struct DescribeStmt {
  std::string operator()(const Text&) const { return "text"; }
  std::string operator()(const Output&) const { return "'{{ }}'"; }
  std::string operator()(const If&) const { return tag("if"); }
  std::string operator()(const For&) const { return tag("for"); }
  std::string operator()(const Set&) const { return tag("set"); }
  std::string operator()(const SetBlock&) const { return tag("set"); }
  std::string operator()(const MacroStmt&) const { return tag("macro"); }
  std::string operator()(const CallBlock&) const { return tag("call"); }
  std::string operator()(const FilterBlock&) const { return tag("filter"); }
  std::string operator()(const With&) const { return tag("with"); }
  std::string operator()(const Do&) const { return tag("do"); }
  std::string operator()(const Break&) const { return tag("break"); }
  std::string operator()(const Continue&) const { return tag("continue"); }

  static std::string tag(const char* name) { return fmt::format("the tag '{{% {} %}}'", name); }
};

}  // namespace

std::string describe(const Expr& expr) { return std::visit(DescribeExpr{}, expr.node); }
std::string describe(const Stmt& stmt) { return std::visit(DescribeStmt{}, stmt.node); }

}  // namespace hunch::jinja
