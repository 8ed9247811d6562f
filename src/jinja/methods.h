// Methods of strings, lists and dicts.
#pragma once
#include <string_view>

#include "jinja/runtime.h"

namespace hunch::jinja {

struct Method {
  const char* name;
  Value (*call)(Runtime&, const Value& self, const CallArgs&);
};

// The method of this name that values of this kind have, or null.
const Method* find_method(Kind kind, std::string_view name);

const Method* find_string_method(std::string_view name);
const Method* find_list_method(std::string_view name);
const Method* find_tuple_method(std::string_view name);
const Method* find_dict_method(std::string_view name);

// text.method, not yet called.
struct BoundMethod final : Object {
  BoundMethod(const Value& self, const Method& method) : self(self), method(method) {}
  Value self;
  const Method& method;
  Value call(Runtime& rt, const CallArgs& args) override {
    rt.spend_on(self);
    return self.markup ? call_markup(rt, args) : method.call(rt, self, args);
  }
  std::string describe() const override {
    return std::string("<method ") + method.name + " of " + jinja::type_name(self) + ">";
  }
  const char* type_name() const override { return "method"; }
  bool callable() const override { return true; }

 private:
  // Escapes the texts among the arguments, and marks the texts of the result.
  Value call_markup(Runtime& rt, const CallArgs& args) const;
};

}  // namespace hunch::jinja
