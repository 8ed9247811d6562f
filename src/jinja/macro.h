// A macro, or the body of a {% call %} block, as a value that can be called.
#pragma once
#include "jinja/interpreter.h"

namespace hunch::jinja {

struct Macro final : Object {
  Macro(const MacroDef& definition, Scope* defined_in, Interpreter& interpreter)
      : definition(definition), defined_in(defined_in), interpreter(interpreter) {}
  const MacroDef& definition;
  Scope* const defined_in;
  Interpreter& interpreter;

  Value as_value() { return Value(static_cast<Object*>(this)); }
  bool callable() const override { return true; }
  std::string describe() const override { return "<Macro '" + definition.name + "'>"; }
  const char* type_name() const override { return "macro"; }
  Value call(Runtime&, const CallArgs& args) override { return interpreter.call_macro(definition, defined_in, args); }
};

}  // namespace hunch::jinja
