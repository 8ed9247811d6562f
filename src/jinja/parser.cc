#include "jinja/parser.h"

#include <algorithm>
#include <initializer_list>

#include "jinja/expression_parser.h"

namespace hunch::jinja {
namespace {

class Parser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  void run() {
    ast_.body = parse_body({});
    if (current().kind != TokenKind::kEnd) {
      fail_at(next().line, fmt::format("the tag '{{% {} %}}' closes nothing", next().text));
    }
  }

 private:
  template <class Node>
  const Stmt* make_stmt(int line, Node node) {
    return ast_.add(Stmt{line, std::move(node)});
  }

  // Statements up to a tag with one of these names, which is left for the caller.
  Body parse_body(std::initializer_list<const char*> ends) {
    Depth depth(*this);
    Body body;
    while (current().kind != TokenKind::kEnd) {
      const int line = current().line;
      if (current().kind == TokenKind::kText) {
        body.push_back(make_stmt(line, Text{take().text}));
      } else if (current().kind == TokenKind::kOutputBegin) {
        take();
        if (current().kind == TokenKind::kOutputEnd) fail_unexpected("an expression");
        const Expr* value = parse_tuple();
        if (current().kind != TokenKind::kOutputEnd) fail_unexpected("'}}'");
        take();
        body.push_back(make_stmt(line, Output{value}));
      } else {
        if (is_end(ends)) return body;
        take();
        body.push_back(parse_tag());
      }
    }
    return body;
  }

  bool is_end(std::initializer_list<const char*> ends) const {
    if (next().kind != TokenKind::kName) return false;
    const auto same = [&](const char* end) { return next().text == end; };
    if (std::any_of(ends.begin(), ends.end(), same)) return true;
    return next().text.rfind("end", 0) == 0 || next().text == "else" || next().text == "elif";
  }

  void end_tag() {
    if (current().kind != TokenKind::kTagEnd) fail_unexpected("'%}'");
    take();
  }

  // At the tag that ended a body: takes its '{%' and name, which must be one of `names`.
  std::string take_end(int opening_line, std::string_view opened, std::initializer_list<const char*> names) {
    if (current().kind == TokenKind::kEnd) {
      fail_at(opening_line, fmt::format("the tag '{{% {} %}}' has no '{{% end{} %}}'", opened, opened));
    }
    take();
    for (const char* name : names) {
      if (skip_name(name)) return name;
    }
    fail_at(current().line,
            fmt::format("the tag '{{% {} %}}' stands inside '{{% {} %}}' of line {}, which needs '{{% end{} %}}'",
                        current().text, opened, opening_line, opened));
  }

  Body parse_block(int line, std::string_view opened, const char* end) {
    end_tag();
    Body body = parse_body({end});
    take_end(line, opened, {end});
    return body;
  }

  const Stmt* parse_tag() {
    const int line = current().line;
    const std::string tag = expect_name("the name of a tag");
    const Stmt* stmt = parse_tag_named(tag, line);
    if (!stmt) {
      for (const char* other : {"include", "import", "from", "extends", "block"}) {
        if (tag == other) {
          fail_at(line,
                  fmt::format("the tag '{{% {} %}}' needs other template files and is not available in chat templates",
                              tag));
        }
      }
      fail_at(line, fmt::format("unknown tag '{{% {} %}}'", tag));
    }
    end_tag();
    return stmt;
  }

  const Stmt* parse_tag_named(const std::string& tag, int line) {
    if (tag == "if") return parse_if(line);
    if (tag == "for") return parse_for(line);
    if (tag == "set") return parse_set(line);
    if (tag == "macro") return parse_macro(line);
    if (tag == "call") return parse_call_block(line);
    if (tag == "filter") {
      const Expr* filters = parse_filter_chain(line);
      return make_stmt(line, FilterBlock{filters, parse_block(line, tag, "endfilter")});
    }
    if (tag == "with") return parse_with(line);
    if (tag == "generation") return make_stmt(line, With{{}, parse_block(line, tag, "endgeneration")});
    if (tag == "do") return make_stmt(line, Do{parse_tuple()});
    if (tag == "break" || tag == "continue") {
      if (n_loops_ == 0) fail_at(line, fmt::format("the tag '{{% {} %}}' stands outside of a loop", tag));
      return tag == "break" ? make_stmt(line, Break{}) : make_stmt(line, Continue{});
    }
    return nullptr;
  }

  const Stmt* parse_if(int line) {
    If node;
    const Expr* test = parse_tuple(false);
    end_tag();
    while (true) {
      Body body = parse_body({"elif", "else", "endif"});
      node.branches.emplace_back(test, std::move(body));
      const std::string end = take_end(line, "if", {"elif", "else", "endif"});
      if (end == "elif") {
        test = parse_tuple(false);
        end_tag();
        continue;
      }
      if (end == "else") {
        end_tag();
        node.otherwise = parse_body({"endif"});
        take_end(line, "if", {"endif"});
      }
      return make_stmt(line, std::move(node));
    }
  }

  const Stmt* parse_for(int line) {
    For node{};
    node.target = parse_target();
    if (!skip_name("in")) fail_unexpected("'in' after the target of '{% for %}'");
    node.iterable = parse_tuple(false);
    if (skip_name("if")) node.filter = parse_expression();
    node.recursive = skip_name("recursive");
    end_tag();
    n_loops_++;
    node.body = parse_body({"else", "endfor"});
    n_loops_--;
    if (take_end(line, "for", {"else", "endfor"}) == "else") {
      end_tag();
      node.otherwise = parse_body({"endfor"});
      take_end(line, "for", {"endfor"});
    }
    return make_stmt(line, std::move(node));
  }

  Target parse_target(bool with_attribute = false) {
    Depth depth(*this);
    std::vector<Target> items;
    bool is_tuple = false;
    do {
      if (is_tuple && (at_name("in") || at_operator("=") || at_operator(")"))) break;
      items.push_back(parse_single_target(with_attribute));
      is_tuple = is_tuple || at_operator(",");
    } while (skip_operator(","));
    if (!is_tuple) return std::move(items.front());
    return Target{"", "", std::move(items)};
  }

  Target parse_single_target(bool with_attribute) {
    if (skip_operator("(")) {
      Target target = parse_target(with_attribute);
      expect_operator(")", "after a target");
      return target;
    }
    const int line = current().line;
    Target target;
    target.name = expect_name("a name to assign to");
    for (const char* reserved :
         {"true", "false", "none", "True", "False", "None", "and", "or", "not", "in", "is", "if", "else"}) {
      if (target.name == reserved) fail_at(line, fmt::format("cannot assign to '{}'", reserved));
    }
    if (with_attribute && skip_operator(".")) target.attribute = expect_name("a name after '.'");
    return target;
  }

  const Stmt* parse_set(int line) {
    Target target = parse_target(true);
    if (skip_operator("=")) return make_stmt(line, Set{std::move(target), parse_tuple()});
    const Expr* filters = at_operator("|") ? parse_filters(nullptr) : nullptr;
    return make_stmt(line, SetBlock{std::move(target), filters, parse_block(line, "set", "endset")});
  }

  // {% filter name(args) | name ... %}
  const Expr* parse_filter_chain(int line) {
    std::string name = expect_name("the name of a filter");
    Arguments args = at_operator("(") ? parse_arguments() : Arguments{};
    return parse_filters(make(line, Filter{nullptr, std::move(name), std::move(args)}));
  }

  const Stmt* parse_with(int line) {
    With node;
    while (current().kind != TokenKind::kTagEnd) {
      if (!node.values.empty()) expect_operator(",", "between the assignments of '{% with %}'");
      Target target = parse_target_without_tuple();
      expect_operator("=", "after a name in '{% with %}'");
      node.values.emplace_back(std::move(target), parse_expression());
    }
    node.body = parse_block(line, "with", "endwith");
    return make_stmt(line, std::move(node));
  }

  Target parse_target_without_tuple() { return parse_single_target(false); }

  std::vector<Parameter> parse_parameters() {
    std::vector<Parameter> parameters;
    expect_operator("(", "before parameters");
    while (!at_operator(")")) {
      if (!parameters.empty()) expect_operator(",", "between parameters");
      if (at_operator(")")) break;
      Parameter parameter{expect_name("the name of a parameter"), nullptr};
      if (skip_operator("=")) {
        parameter.fallback = parse_expression();
      } else if (!parameters.empty() && parameters.back().fallback) {
        fail_at(current().line,
                fmt::format("parameter '{}' without a default follows one with a default", parameter.name));
      }
      parameters.push_back(std::move(parameter));
    }
    take();
    return parameters;
  }

  // The rest of a macro or call block, after its parameters. Notes which of the implicit variables it reads.
  void parse_macro_body(MacroDef& macro, int line, std::string_view tag, const char* end) {
    const int n_loops_outside = std::exchange(n_loops_, 0);
    std::set<std::string> names_outside = std::exchange(names_read_, {});
    macro.body = parse_block(line, tag, end);
    macro.uses_varargs = names_read_.count("varargs") > 0;
    macro.uses_kwargs = names_read_.count("kwargs") > 0;
    macro.uses_caller = names_read_.count("caller") > 0;
    names_read_.merge(names_outside);
    n_loops_ = n_loops_outside;
  }

  const Stmt* parse_macro(int line) {
    MacroDef macro;
    macro.name = expect_name("the name of a macro");
    macro.parameters = parse_parameters();
    parse_macro_body(macro, line, "macro", "endmacro");
    return make_stmt(line, MacroStmt{std::move(macro)});
  }

  const Stmt* parse_call_block(int line) {
    CallBlock node{};
    node.caller.name = "caller";
    if (at_operator("(")) node.caller.parameters = parse_parameters();
    node.call = parse_expression();
    if (!std::holds_alternative<Call>(node.call->node)) fail_at(line, "the tag '{% call %}' needs the call of a macro");
    parse_macro_body(node.caller, line, "call", "endcall");
    return make_stmt(line, std::move(node));
  }

  int n_loops_ = 0;
};

}  // namespace

Ast parse(std::vector<Token> tokens) {
  Ast ast;
  Parser(std::move(tokens), ast).run();
  return ast;
}

}  // namespace hunch::jinja
