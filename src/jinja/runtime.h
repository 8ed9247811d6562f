// What every operation of a rendering shares: its heap, its allowance of steps, its clock.
#pragma once
#include <cstdint>
#include <ctime>
#include <optional>

#include "jinja/operators.h"
#include "jinja/value.h"

namespace hunch::jinja {

// Bounds of one rendering. The defaults render a conversation of 100,000 messages and stop a
// runaway template within seconds.
struct Limits {
  uint64_t max_steps = 20'000'000;       // evaluated nodes, and work proportional to their operands
  size_t max_bytes = size_t{512} << 20;  // all values ever made
  size_t max_output_bytes = size_t{64} << 20;
  int max_depth = 400;  // of nested expressions, statements and macro calls
};

class Runtime {
 public:
  Runtime(const Limits& limits, std::optional<std::time_t> now)
      : heap(limits.max_bytes), now(now), limits_(limits), steps_left_(limits.max_steps) {}

  void spend(uint64_t n_steps) {
    if (n_steps > steps_left_) refuse();
    steps_left_ -= n_steps;
  }
  // Pays for work that is linear in the size of `value`.
  void spend_on(const Value& value);
  const Limits& limits() const { return limits_; }

  Heap heap;
  const std::optional<std::time_t> now;  // nullopt: the system's clock

 private:
  [[noreturn]] void refuse() const;
  const Limits limits_;
  uint64_t steps_left_;
};

// A function that templates can call: range, namespace, ...
struct NativeFunction final : Object {
  using Code = Value (*)(Runtime&, const CallArgs&);
  NativeFunction(const char* name, Code code) : name(name), code(code) {}
  const char* name;
  Code code;
  Value call(Runtime& rt, const CallArgs& args) override { return code(rt, args); }
  std::string describe() const override { return std::string("<function ") + name + ">"; }
  const char* type_name() const override { return "function"; }
  bool callable() const override { return true; }
};

}  // namespace hunch::jinja
