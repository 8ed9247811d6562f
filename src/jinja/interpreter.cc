#include "jinja/interpreter.h"

#include <fmt/format.h>

#include "jinja/filters.h"
#include "jinja/macro.h"

namespace hunch::jinja {

struct Interpreter::Execute {
  Interpreter& self;
  const Stmt& stmt;

  Flow operator()(const Text& n) const {
    self.write(n.text);
    return Flow::kNext;
  }
  Flow operator()(const Output& n) const {
    const Value value = self.evaluate(*n.value);
    self.write(value.is_string() ? *value.string : to_text(value));
    return Flow::kNext;
  }
  Flow operator()(const If& n) const {
    for (const auto& [test, body] : n.branches) {
      if (truthy(self.evaluate(*test))) return self.execute(body);
    }
    return self.execute(n.otherwise);
  }
  Flow operator()(const For& n) const {
    const Value iterable = self.evaluate(*n.iterable);
    self.stmt_ = &stmt, self.expr_ = nullptr;
    self.run_loop(n, iterable, 0);
    return Flow::kNext;
  }
  Flow operator()(const Set& n) const {
    const Value value = self.evaluate(*n.value);
    self.stmt_ = &stmt, self.expr_ = nullptr;
    self.assign(n.target, value);
    return Flow::kNext;
  }
  Flow operator()(const SetBlock& n) const {
    Value text = self.capture(n.body, self.new_scope(self.scope_));
    if (n.filters) text = self.apply_filters(*n.filters, text);
    self.assign(n.target, text);
    return Flow::kNext;
  }
  Flow operator()(const MacroStmt& n) const {
    self.scope_->set(n.macro.name, self.rt_.heap.object<Macro>(n.macro, self.scope_, self)->as_value());
    return Flow::kNext;
  }
  Flow operator()(const CallBlock& n) const {
    const Call& call = std::get<Call>(n.call->node);
    const Value callee = self.evaluate(*call.callee);
    CallArgs args = self.evaluate_args(call.args);
    args.named.emplace_back("caller", self.rt_.heap.object<Macro>(n.caller, self.scope_, self)->as_value());
    self.at(*n.call);
    if (!callee.is(Kind::kObject)) throw Fault("the tag '{% call %}' needs a macro");
    self.write(to_text(callee.object->call(self.rt_, args)));
    return Flow::kNext;
  }
  Flow operator()(const FilterBlock& n) const {
    const Value text = self.capture(n.body, self.new_scope(self.scope_));
    self.write(to_text(self.apply_filters(*n.filters, text)));
    return Flow::kNext;
  }
  Flow operator()(const With& n) const {
    Scope* outer = self.scope_;
    Scope* inner = self.new_scope(outer);
    for (const auto& [target, value] : n.values) {
      const Value evaluated = self.evaluate(*value);
      self.scope_ = inner;
      self.assign(target, evaluated);
      self.scope_ = outer;
    }
    self.scope_ = inner;
    const Flow flow = self.execute(n.body);
    self.scope_ = outer;
    return flow;
  }
  Flow operator()(const Do& n) const {
    self.evaluate(*n.value);
    return Flow::kNext;
  }
  Flow operator()(const Break&) const { return Flow::kBreak; }
  Flow operator()(const Continue&) const { return Flow::kContinue; }
};

Interpreter::Interpreter(Runtime& rt, const Scope& globals) : rt_(rt), scope_(new_scope(&globals)) {}

std::string Interpreter::render(const Ast& ast) {
  std::string output;
  out_ = &output;
  execute(ast.body);
  return output;
}

Interpreter::Position Interpreter::position() const {
  if (expr_) return {expr_->line, describe(*expr_)};
  if (stmt_) return {stmt_->line, describe(*stmt_)};
  return {1, "the template"};
}

void Interpreter::enter() {
  if (depth_ >= rt_.limits().max_depth) {
    throw Fault(fmt::format("nested more than {} deep; a macro probably calls itself without end", depth_));
  }
  rt_.spend(1);
}

Interpreter::Flow Interpreter::execute(const Body& body) {
  for (const Stmt* stmt : body) {
    const Flow flow = execute(*stmt);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::execute(const Stmt& stmt) {
  stmt_ = &stmt;
  expr_ = nullptr;
  enter();
  depth_++;
  const Flow flow = std::visit(Execute{*this, stmt}, stmt.node);
  depth_--;
  return flow;
}

void Interpreter::write(std::string_view text) {
  if (out_->size() + text.size() > rt_.limits().max_output_bytes) {
    throw Fault(fmt::format("the output is longer than {} bytes", rt_.limits().max_output_bytes));
  }
  rt_.spend(text.size() / 64);
  out_->append(text);
}

Scope* Interpreter::new_scope(const Scope* parent) {
  rt_.heap.charge(sizeof(Scope) + 4 * sizeof(Value));
  return &scopes_.emplace_back(parent);
}

Value Interpreter::lookup(std::string_view name) {
  if (const Value* found = scope_->find(name)) return *found;
  return rt_.heap.undefined(fmt::format("'{}' is undefined", name));
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (!target.items.empty()) {
    const std::vector<Value> parts = iterate(rt_.heap, value);
    if (parts.size() != target.items.size()) {
      throw Fault(fmt::format("cannot unpack {} values into {} names", parts.size(), target.items.size()));
    }
    for (size_t i = 0; i < parts.size(); i++) assign(target.items[i], parts[i]);
  } else if (target.attribute.empty()) {
    scope_->set(target.name, value);
  } else {
    const Value object = lookup(target.name);
    auto* ns = object.is(Kind::kObject) ? dynamic_cast<Namespace*>(object.object) : nullptr;
    if (!ns) throw Fault(fmt::format("cannot set an attribute of '{}': it is not a namespace", target.name));
    ns->fields.set(rt_.heap.string(target.attribute), value);
  }
}

Value Interpreter::capture(const Body& body, Scope* scope) {
  std::string text;
  std::string* const outer_out = std::exchange(out_, &text);
  Scope* const outer_scope = std::exchange(scope_, scope);
  execute(body);
  out_ = outer_out;
  scope_ = outer_scope;
  return rt_.heap.string(std::move(text));
}

Value Interpreter::apply_filters(const Expr& filters, const Value& text) {
  const Value* outer = std::exchange(block_text_, &text);
  const Value result = evaluate(filters);
  block_text_ = outer;
  return result;
}

Interpreter::Flow Interpreter::run_loop(const For& node, const Value& iterable, int depth0) {
  auto* loop = rt_.heap.object<Loop>();
  Scope* const outer = scope_;
  for (const Value& item : iterate(rt_.heap, iterable)) {
    bool keep = true;
    if (node.filter) {
      scope_ = new_scope(outer);
      assign(node.target, item);
      keep = truthy(evaluate(*node.filter));
      scope_ = outer;
    }
    if (keep) loop->items.push_back(item);
  }
  loop->depth0 = depth0;
  if (node.recursive) {
    loop->recurse = [this, &node, outer, depth0](const Value& children) {
      std::string text;
      std::string* const outer_out = std::exchange(out_, &text);
      Scope* const caller_scope = std::exchange(scope_, outer);
      run_loop(node, children, depth0 + 1);
      out_ = outer_out;
      scope_ = caller_scope;
      return rt_.heap.string(std::move(text));
    };
  }
  for (loop->index0 = 0; loop->index0 < loop->items.size(); loop->index0++) {
    scope_ = new_scope(outer);
    scope_->set("loop", Value(static_cast<Object*>(loop)));
    assign(node.target, loop->items[loop->index0]);
    rt_.spend(1);
    if (execute(node.body) == Flow::kBreak) break;
  }
  Flow flow = Flow::kNext;
  if (loop->items.empty()) {
    scope_ = new_scope(outer);
    flow = execute(node.otherwise);
  }
  scope_ = outer;
  return flow;
}

Value Interpreter::call_macro(const MacroDef& macro, Scope* defined_in, const CallArgs& args) {
  Scope* const outer_scope = scope_;
  Scope* const scope = new_scope(defined_in);
  const size_t n_parameters = macro.parameters.size();
  std::vector<bool> bound(n_parameters, false);
  std::vector<Value> more;
  for (size_t i = 0; i < args.positional.size(); i++) {
    if (i < n_parameters) {
      scope->set(macro.parameters[i].name, args.positional[i]);
      bound[i] = true;
    } else {
      more.push_back(args.positional[i]);
    }
  }
  if (!more.empty() && !macro.uses_varargs) {
    throw Fault(fmt::format("macro '{}' takes at most {} arguments, {} given", macro.name, n_parameters,
                            args.positional.size()));
  }
  Dict* named = rt_.heap.dict();
  Value caller = rt_.heap.undefined("there is no caller: the macro was not called by '{% call %}'");
  for (const auto& [name, value] : args.named) {
    size_t i = 0;
    while (i < n_parameters && macro.parameters[i].name != name) i++;
    if (i < n_parameters) {
      if (bound[i]) throw Fault(fmt::format("macro '{}' got two values for '{}'", macro.name, name));
      scope->set(macro.parameters[i].name, value);
      bound[i] = true;
    } else if (name == "caller" && macro.uses_caller) {
      caller = value;
    } else if (macro.uses_kwargs) {
      named->set(rt_.heap.string(name), value);
    } else {
      throw Fault(fmt::format("macro '{}' has no parameter '{}'", macro.name, name));
    }
  }
  scope_ = scope;
  for (size_t i = 0; i < n_parameters; i++) {
    if (bound[i]) continue;
    const Parameter& p = macro.parameters[i];
    scope->set(p.name, p.fallback ? evaluate(*p.fallback)
                                  : rt_.heap.undefined(fmt::format("parameter '{}' was not provided", p.name)));
  }
  if (macro.uses_varargs) scope->set("varargs", rt_.heap.tuple(std::move(more)));
  if (macro.uses_kwargs) scope->set("kwargs", Value(named));
  if (macro.uses_caller) scope->set("caller", caller);
  const Value text = capture(macro.body, scope);
  scope_ = outer_scope;
  return text;
}

}  // namespace hunch::jinja
