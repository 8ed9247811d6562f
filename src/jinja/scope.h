// Variables by name, in nested scopes. Names are views: they outlive the rendering, as they lie in
// the syntax tree or on the heap.
#pragma once
#include <deque>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace hunch::jinja {

class Scope {
 public:
  explicit Scope(const Scope* parent) : parent_(parent) {}

  void set(std::string_view name, const Value& value) {
    for (auto& [key, held] : variables_) {
      if (key == name) {
        held = value;
        return;
      }
    }
    variables_.emplace_back(name, value);
  }

  // The nearest variable of this name, or null.
  const Value* find(std::string_view name) const {
    for (const Scope* scope = this; scope; scope = scope->parent_) {
      for (const auto& [key, value] : scope->variables_) {
        if (key == name) return &value;
      }
    }
    return nullptr;
  }

 private:
  const Scope* parent_;
  std::vector<std::pair<std::string_view, Value>> variables_;
};

}  // namespace hunch::jinja
