#include "jinja/loop.h"

#include <fmt/format.h>

#include <algorithm>

namespace hunch::jinja {
namespace {

struct LoopMethod final : Object {
  LoopMethod(Loop* loop, bool cycles) : loop(loop), cycles(cycles) {}
  Loop* loop;
  bool cycles;
  bool callable() const override { return true; }
  std::string describe() const override { return "<method of loop>"; }
  const char* type_name() const override { return "method"; }

  Value call(Runtime&, const CallArgs& args) override {
    if (!args.named.empty()) throw Fault("loop.cycle() and loop.changed() take no named arguments");
    if (cycles) {
      if (args.positional.empty()) throw Fault("loop.cycle() needs one or more values");
      return args.positional[loop->index0 % args.positional.size()];
    }
    const bool same = loop->changed_called &&
                      std::equal(args.positional.begin(), args.positional.end(), loop->last_changed.begin(),
                                 loop->last_changed.end(), [](const Value& a, const Value& b) { return equal(a, b); });
    loop->changed_called = true;
    loop->last_changed = args.positional;
    return Value(!same);
  }
};

}  // namespace

std::string Loop::describe() const { return fmt::format("<LoopContext {}/{}>", index0 + 1, items.size()); }

std::optional<Value> Loop::attribute(Heap& heap, std::string_view name) const {
  const size_t n = items.size();
  if (name == "index") return Value(Int(index0 + 1));
  if (name == "index0") return Value(Int(index0));
  if (name == "revindex") return Value(Int(n - index0));
  if (name == "revindex0") return Value(Int(n - index0 - 1));
  if (name == "first") return Value(index0 == 0);
  if (name == "last") return Value(index0 + 1 == n);
  if (name == "length") return Value(Int(n));
  if (name == "depth") return Value(Int(depth0 + 1));
  if (name == "depth0") return Value(Int(depth0));
  if (name == "previtem") return index0 > 0 ? items[index0 - 1] : heap.undefined("there is no previous item");
  if (name == "nextitem") return index0 + 1 < n ? items[index0 + 1] : heap.undefined("there is no next item");
  if (name == "cycle" || name == "changed") {
    return Value(static_cast<Object*>(heap.object<LoopMethod>(const_cast<Loop*>(this), name == "cycle")));
  }
  return std::nullopt;
}

Value Loop::call(Runtime&, const CallArgs& args) {
  if (!recurse) throw Fault("'loop' can be called only in a loop marked 'recursive'");
  const Params p("loop()", args, {"iterable"}, 1);
  return recurse(p[0]);
}

}  // namespace hunch::jinja
