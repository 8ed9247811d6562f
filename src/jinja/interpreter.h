// Walks the syntax tree and writes the output.
#pragma once
#include <deque>
#include <string>
#include <variant>

#include "jinja/ast.h"
#include "jinja/loop.h"
#include "jinja/runtime.h"
#include "jinja/scope.h"

namespace hunch::jinja {

class Interpreter {
 public:
  // Variables are looked up in `globals` when the template itself has not set them.
  Interpreter(Runtime& rt, const Scope& globals);

  // Renders the whole template. An Interpreter renders once; after an exception (Fault,
  // TemplateRaised) it only tells where it stopped.
  std::string render(const Ast& ast);

  struct Position {
    int line = 0;
    std::string construct;
  };
  Position position() const;

  // Runs a macro's body; called by the macro object.
  Value call_macro(const MacroDef& macro, Scope* defined_in, const CallArgs& args);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  struct Evaluate;  // visitors over the nodes of the tree
  struct Execute;

  Value evaluate(const Expr& expr);
  Flow execute(const Body& body);
  Flow execute(const Stmt& stmt);

  // Renders `body` in a scope of its own, into a text instead of the output.
  Value capture(const Body& body, Scope* scope);
  Value apply_filters(const Expr& filters, const Value& text);
  Flow run_loop(const For& node, const Value& iterable, int depth0);
  CallArgs evaluate_args(const Arguments& args);
  void assign(const Target& target, const Value& value);
  void write(std::string_view text);
  Scope* new_scope(const Scope* parent);
  Value lookup(std::string_view name);
  // Notes which node is at work, for error messages.
  void at(const Expr& expr) { expr_ = &expr; }
  void enter();

  Runtime& rt_;
  std::deque<Scope> scopes_;
  Scope* scope_;
  std::string* out_ = nullptr;
  const Value* block_text_ = nullptr;  // the input of the filters of a block
  int depth_ = 0;
  const Expr* expr_ = nullptr;
  const Stmt* stmt_ = nullptr;
};

}  // namespace hunch::jinja
