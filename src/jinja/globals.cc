#include "jinja/globals.h"

#include <fmt/format.h>

#include <ctime>

namespace hunch::jinja {
namespace {

// As Jinja's sandbox has it.
constexpr int kMaxRange = 100'000;

Value range(Runtime& rt, const CallArgs& args) {
  const Params p("range()", args, {"start", "stop", "step"}, 1);
  const Int start = p.has(1) ? p.integer(0, 0) : Int(0);
  const Int stop = p.has(1) ? p.integer(1, 0) : p.integer(0, 0);
  const Int step = p.integer(2, 1);
  if (step == 0) throw Fault("range(): the step cannot be zero");
  constexpr Int kHuge = Int(1) << 100;
  for (Int part : {start, stop, step}) {
    if (part > kHuge || part < -kHuge) throw Fault("range(): a number is too large");
  }
  const Int n = step > 0 ? (stop - start + step - 1) / step : (start - stop - step - 1) / -step;
  if (n > kMaxRange) throw Fault(fmt::format("range(): more than {} items", kMaxRange));
  std::vector<Value> items;
  for (Int i = 0; i < n; i++) items.push_back(Value(start + i * step));
  rt.spend(items.size());
  return rt.heap.list(std::move(items));
}

void set_all(Runtime& rt, Dict& dict, const std::vector<std::pair<Value, Value>>& entries) {
  for (const auto& [key, value] : entries) {
    rt.heap.charge(4 * sizeof(Value));
    dict.set(key, value);
  }
}

// dict(mapping or pairs, name=value, ...) into `dict`.
void fill_dict(Runtime& rt, const char* callee, Dict& dict, const CallArgs& args) {
  const Params p(callee, CallArgs{args.positional, {}}, {"mapping"});
  if (p.has(0) && p[0].is(Kind::kDict)) {
    set_all(rt, dict, p[0].dict->items());
  } else if (p.has(0)) {
    for (const Value& pair : iterate(rt.heap, p[0])) {
      if (!pair.is_sequence() || pair.list->items.size() != 2)
        throw Fault(fmt::format("{} needs a dict or pairs", callee));
      set_all(rt, dict, {{pair.list->items[0], pair.list->items[1]}});
    }
  }
  for (const auto& [name, value] : args.named) set_all(rt, dict, {{rt.heap.string(name), value}});
}

Value make_dict(Runtime& rt, const CallArgs& args) {
  Dict* dict = rt.heap.dict();
  fill_dict(rt, "dict()", *dict, args);
  return Value(dict);
}

Value make_namespace(Runtime& rt, const CallArgs& args) {
  auto* ns = rt.heap.object<Namespace>();
  fill_dict(rt, "namespace()", ns->fields, args);
  return Value(static_cast<Object*>(ns));
}

// joiner(sep): nothing when first called, then the separator.
struct Joiner final : Object {
  explicit Joiner(const Value& separator) : separator(separator) {}
  Value separator;
  bool used = false;
  bool callable() const override { return true; }
  std::string describe() const override { return "<joiner>"; }
  const char* type_name() const override { return "joiner"; }
  Value call(Runtime& rt, const CallArgs& args) override {
    Params("a joiner", args, {});
    if (!std::exchange(used, true)) return rt.heap.string("");
    return separator;
  }
};

Value make_joiner(Runtime& rt, const CallArgs& args) {
  const Params p("joiner()", args, {"sep"});
  return Value(static_cast<Object*>(rt.heap.object<Joiner>(p.value(0, rt.heap.string(", ")))));
}

struct Cycler final : Object {
  explicit Cycler(std::vector<Value> items) : items(std::move(items)) {}
  std::vector<Value> items;
  size_t at = 0;
  std::string describe() const override { return "<cycler>"; }
  const char* type_name() const override { return "cycler"; }
  std::optional<Value> attribute(Heap& heap, std::string_view name) const override;
};

struct CyclerMethod final : Object {
  CyclerMethod(Cycler* cycler, bool resets) : cycler(cycler), resets(resets) {}
  Cycler* cycler;
  bool resets;
  bool callable() const override { return true; }
  std::string describe() const override { return "<method of cycler>"; }
  const char* type_name() const override { return "method"; }
  Value call(Runtime&, const CallArgs& args) override {
    Params("a method of cycler", args, {});
    if (resets) {
      cycler->at = 0;
      return Value();
    }
    const Value item = cycler->items[cycler->at];
    cycler->at = (cycler->at + 1) % cycler->items.size();
    return item;
  }
};

std::optional<Value> Cycler::attribute(Heap& heap, std::string_view name) const {
  if (name == "current") return items[at];
  if (name != "next" && name != "reset") return std::nullopt;
  return Value(static_cast<Object*>(heap.object<CyclerMethod>(const_cast<Cycler*>(this), name == "reset")));
}

Value make_cycler(Runtime& rt, const CallArgs& args) {
  if (args.positional.empty() || !args.named.empty()) throw Fault("cycler() needs one or more values");
  return Value(static_cast<Object*>(rt.heap.object<Cycler>(args.positional)));
}

Value raise_exception(Runtime&, const CallArgs& args) {
  const Params p("raise_exception()", args, {"message"}, 1);
  throw TemplateRaised(to_text(p[0]));
}

Value strftime_now(Runtime& rt, const CallArgs& args) {
  const Params p("strftime_now()", args, {"format"}, 1);
  const std::string format = p.string(0, "");
  constexpr size_t kMaxFormat = 1000;
  if (format.size() > kMaxFormat) throw Fault("strftime_now(): the format is too long");
  const std::time_t now = rt.now ? *rt.now : std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  // A leading character keeps an empty result apart from one that did not fit.
  std::string out(64 * kMaxFormat, '\0');
  const size_t n = std::strftime(out.data(), out.size(), ("." + format).c_str(), &parts);
  if (n == 0) throw Fault("strftime_now(): the result is too long");
  return rt.heap.string(out.substr(1, n - 1));
}

}  // namespace

void define_globals(Runtime& rt, Scope& scope) {
  static constexpr struct {
    const char* name;
    NativeFunction::Code code;
  } kFunctions[] = {
      {"range", range},
      {"dict", make_dict},
      {"namespace", make_namespace},
      {"joiner", make_joiner},
      {"cycler", make_cycler},
      {"raise_exception", raise_exception},
      {"strftime_now", strftime_now},
  };
  for (const auto& f : kFunctions) {
    scope.set(f.name, Value(static_cast<Object*>(rt.heap.object<NativeFunction>(f.name, f.code))));
  }
}

}  // namespace hunch::jinja
