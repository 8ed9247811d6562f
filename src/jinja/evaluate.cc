// The expression half of the interpreter.
#include <fmt/format.h>

#include "jinja/filters.h"
#include "jinja/interpreter.h"

namespace hunch::jinja {

struct Interpreter::Evaluate {
  Interpreter& self;
  const Expr& expr;

  Heap& heap() const { return self.rt_.heap; }

  Value operator()(const Literal& n) const { return n.value; }
  Value operator()(const Name& n) const { return self.lookup(n.id); }

  Value operator()(const Sequence& n) const {
    std::vector<Value> items;
    items.reserve(n.items.size());
    for (const Expr* item : n.items) items.push_back(self.evaluate(*item));
    return n.tuple ? heap().tuple(std::move(items)) : heap().list(std::move(items));
  }

  Value operator()(const DictLiteral& n) const {
    Dict* dict = heap().dict();
    for (const auto& [key, value] : n.items) {
      heap().charge(4 * sizeof(Value));
      const Value k = self.evaluate(*key), v = self.evaluate(*value);
      self.at(expr);
      dict->set(k, v);
    }
    return Value(dict);
  }

  Value operator()(const Unary& n) const {
    const Value operand = self.evaluate(*n.operand);
    if (n.op == '!') return Value(!truthy(operand));
    self.at(expr);
    const Value negated = negate(operand);
    return n.op == '-' ? negated : negate(negated);
  }

  // A chain a + b + c is nested to the left; it is folded from its innermost operand without recursion.
  Value operator()(const Binary& n) const {
    std::vector<std::pair<const Expr*, const Binary*>> chain{{&expr, &n}};
    while (const auto* inner = std::get_if<Binary>(&chain.back().second->left->node)) {
      chain.emplace_back(chain.back().second->left, inner);
    }
    Value value = self.evaluate(*chain.back().second->left);
    for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
      const Binary& link = *it->second;
      if (link.op == "and" || link.op == "or") {
        if (truthy(value) == (link.op == "and")) value = self.evaluate(*link.right);
        continue;
      }
      const Value right = self.evaluate(*link.right);
      self.at(*it->first);
      self.rt_.spend_on(value);
      self.rt_.spend_on(right);
      value = binary(heap(), link.op, value, right);
    }
    return value;
  }

  Value operator()(const Compare& n) const {
    Value left = self.evaluate(*n.first);
    for (const auto& [op, operand] : n.rest) {
      const Value right = self.evaluate(*operand);
      self.at(expr);
      self.rt_.spend_on(left);
      self.rt_.spend_on(right);
      if (!holds(op, left, right)) return Value(false);
      left = right;
    }
    return Value(true);
  }

  static bool holds(std::string_view op, const Value& a, const Value& b) {
    if (op == "==") return equal(a, b);
    if (op == "!=") return !equal(a, b);
    if (op == "in") return contains(b, a);
    if (op == "not in") return !contains(b, a);
    const auto order = compare(a, b, op);
    if (op == "<") return order < 0;
    if (op == "<=") return order <= 0;
    return op == ">" ? order > 0 : order >= 0;
  }

  Value operator()(const Conditional& n) const {
    if (truthy(self.evaluate(*n.test))) return self.evaluate(*n.then);
    if (n.otherwise) return self.evaluate(*n.otherwise);
    return heap().undefined("an inline 'if' was false and has no 'else'");
  }

  Value operator()(const Attribute& n) const {
    const Value object = self.evaluate(*n.object);
    self.at(expr);
    return get_attribute(heap(), object, n.name);
  }

  Value operator()(const Item& n) const {
    const Value object = self.evaluate(*n.object), key = self.evaluate(*n.key);
    self.at(expr);
    if (object.is_string()) self.rt_.spend_on(object);
    return get_item(heap(), object, key);
  }

  Value operator()(const Slice& n) const {
    const auto part = [&](const Expr* e) { return e ? self.evaluate(*e) : Value(); };
    const Value object = self.evaluate(*n.object);
    const Value start = part(n.start), stop = part(n.stop), step = part(n.step);
    self.at(expr);
    self.rt_.spend_on(object);
    return slice(heap(), object, start, stop, step);
  }

  Value operator()(const Call& n) const {
    const Value callee = self.evaluate(*n.callee);
    const CallArgs args = self.evaluate_args(n.args);
    self.at(expr);
    if (callee.is_undefined()) throw Fault(*callee.string);
    if (!callee.is(Kind::kObject)) throw Fault(fmt::format("a {} cannot be called", type_name(callee)));
    return callee.object->call(self.rt_, args);
  }

  Value operator()(const Filter& n) const {
    const Value input = n.input ? self.evaluate(*n.input) : *self.block_text_;
    const CallArgs args = self.evaluate_args(n.args);
    self.at(expr);
    return apply_filter(self.rt_, n.name, input, args);
  }

  Value operator()(const Test& n) const {
    const Value input = self.evaluate(*n.input);
    const CallArgs args = self.evaluate_args(n.args);
    self.at(expr);
    return Value(apply_test(self.rt_, n.name, input, args));
  }
};

Value Interpreter::evaluate(const Expr& expr) {
  at(expr);
  enter();
  depth_++;
  const Value value = std::visit(Evaluate{*this, expr}, expr.node);
  depth_--;
  return value;
}

CallArgs Interpreter::evaluate_args(const Arguments& args) {
  CallArgs out;
  for (const Expr* arg : args.positional) out.positional.push_back(evaluate(*arg));
  if (args.more_positional) {
    const std::vector<Value> more = iterate(rt_.heap, evaluate(*args.more_positional));
    out.positional.insert(out.positional.end(), more.begin(), more.end());
  }
  for (const auto& [name, value] : args.named) out.named.emplace_back(name, evaluate(*value));
  if (args.more_named) {
    const Value more = evaluate(*args.more_named);
    if (!more.is(Kind::kDict)) throw Fault("'**' needs a dict");
    for (const auto& [key, value] : more.dict->items()) {
      if (!key.is_string()) throw Fault("'**' needs a dict with str keys");
      out.named.emplace_back(*key.string, value);
    }
  }
  return out;
}

}  // namespace hunch::jinja
