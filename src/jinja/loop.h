// The variable `loop` inside {% for %}.
#pragma once
#include <functional>
#include <utility>
#include <vector>

#include "jinja/runtime.h"

namespace hunch::jinja {

struct Loop final : Object {
  std::vector<Value> items;
  size_t index0 = 0;
  int depth0 = 0;
  std::vector<Value> last_changed;  // what loop.changed() was given last
  bool changed_called = false;
  // Renders the loop's body for other items: loop(children) in a recursive loop; else null.
  std::function<Value(const Value&)> recurse;

  std::string describe() const override;
  const char* type_name() const override { return "loop"; }
  bool callable() const override { return recurse != nullptr; }
  std::optional<Value> attribute(Heap& heap, std::string_view name) const override;
  Value call(Runtime& rt, const CallArgs& args) override;
};

}  // namespace hunch::jinja
