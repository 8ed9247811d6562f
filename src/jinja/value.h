// Values of the template language, with Python's data model as far as templates can see it.
// Values are small and copied freely; strings, containers and objects live in a Heap until the
// rendering ends, so nothing is counted, freed or leaked in between, cycles included.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hunch::jinja {

// Wide enough for every integer that JSON can carry; arithmetic beyond it is a Fault, not a wrap.
__extension__ typedef __int128 Int;

// What goes wrong while parsing or rendering, before line and construct are known. render() turns it into hunch::Error.
class Fault : public std::runtime_error {
 public:
  explicit Fault(const std::string& message) : std::runtime_error(message) {}
};

// No single text that an operation makes is longer. Nested containers can share parts, so that what
// they print may be exponentially larger than what they hold.
inline constexpr size_t kMaxTextBytes = size_t{16} << 20;
// Throws Fault when n_bytes is more than that.
inline void check_text_size(size_t n_bytes) {
  if (n_bytes > kMaxTextBytes) throw Fault("a text of more than 16 MiB; the template is probably in a runaway loop");
}

enum class Kind : uint8_t { kUndefined, kNone, kBool, kInt, kFloat, kString, kList, kTuple, kDict, kObject };

class Heap;
struct List;
class Dict;
struct Object;
struct CallArgs;
class Runtime;

struct Value {
  Kind kind = Kind::kNone;
  // A string that went through `safe` or `escape`: text joined to it by + or % is HTML-escaped, as
  // Python's Markup does. Output itself is never escaped.
  bool markup = false;
  union {
    bool boolean;
    Int integer;
    double number;
    const std::string* string;  // kString: the text; kUndefined: why it is undefined
    List* list;                 // kList, kTuple
    Dict* dict;
    Object* object;
  };

  Value() : integer(0) {}
  explicit Value(bool v) : kind(Kind::kBool), boolean(v) {}
  explicit Value(Int v) : kind(Kind::kInt), integer(v) {}
  explicit Value(double v) : kind(Kind::kFloat), number(v) {}
  explicit Value(const std::string* v) : kind(Kind::kString), string(v) {}
  explicit Value(Dict* v) : kind(Kind::kDict), dict(v) {}
  explicit Value(Object* v) : kind(Kind::kObject), object(v) {}
  Value(List* v, bool tuple) : kind(tuple ? Kind::kTuple : Kind::kList), list(v) {}
  static Value integer_of(Int v) { return Value(v); }

  bool is(Kind k) const { return kind == k; }
  Value as_markup(bool yes = true) const {
    Value v = *this;
    v.markup = yes && v.is_string();
    return v;
  }
  bool is_string() const { return kind == Kind::kString; }
  bool is_undefined() const { return kind == Kind::kUndefined; }
  bool is_none() const { return kind == Kind::kNone; }
  bool is_sequence() const { return kind == Kind::kList || kind == Kind::kTuple; }
  bool is_integral() const { return kind == Kind::kInt || kind == Kind::kBool; }
  bool is_number() const { return is_integral() || kind == Kind::kFloat; }
  // The value of an integer or a boolean; only for is_integral().
  Int as_int() const { return kind == Kind::kBool ? Int(boolean) : integer; }
  // The value of any number; only for is_number().
  double as_double() const { return kind == Kind::kFloat ? number : double(as_int()); }
};

struct List {
  std::vector<Value> items;
  // Attribute names of a named tuple (groupby's pairs), as many as items; usually null.
  const char* const* field_names = nullptr;
  // Made by a filter that is a generator in Python (map, select, ...), and therefore true even when empty.
  bool lazy = false;
};

// Key/value pairs in insertion order. Keys are hashable values; 1, 1.0 and true are the same key.
class Dict {
 public:
  const std::vector<std::pair<Value, Value>>& items() const { return items_; }
  size_t size() const { return items_.size(); }
  // Throw Fault for a key that cannot be hashed (list, dict).
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  void set(const Value& key, const Value& value);
  bool erase(const Value& key);
  void clear();

 private:
  std::vector<std::pair<Value, Value>> items_;
  std::unordered_map<std::string, size_t> index_;  // by canonical key
};

// Functions, macros, namespaces, loop variables.
struct Object {
  virtual ~Object() = default;
  virtual std::string describe() const = 0;  // how it prints
  virtual const char* type_name() const = 0;
  virtual bool callable() const { return false; }
  virtual Value call(Runtime&, const CallArgs&) { throw Fault(std::string("a ") + type_name() + " cannot be called"); }
  virtual std::optional<Value> attribute(Heap&, std::string_view) const { return std::nullopt; }
};

struct Namespace final : Object {
  Dict fields;
  std::string describe() const override { return "<Namespace>"; }
  const char* type_name() const override { return "namespace"; }
  std::optional<Value> attribute(Heap&, std::string_view name) const override {
    if (const Value* v = fields.find(name)) return *v;
    return std::nullopt;
  }
};

// Owns everything that a rendering creates, and bounds it: the sum of all bytes ever asked for.
class Heap {
 public:
  explicit Heap(size_t max_bytes) : max_bytes_(max_bytes) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // Throws Fault when the allowance is used up. Call it before making something large.
  void charge(size_t n_bytes) {
    if (n_bytes > max_bytes_ - used_bytes_) refuse();
    used_bytes_ += n_bytes;
  }

  Value string(std::string text);
  Value undefined(std::string why);
  Value list(std::vector<Value> items, bool lazy = false);
  Value tuple(std::vector<Value> items, const char* const* field_names = nullptr);
  Dict* dict();
  template <class T, class... Args>
  T* object(Args&&... args) {
    charge(sizeof(T) + 64);
    auto owned = std::make_unique<T>(std::forward<Args>(args)...);
    T* raw = owned.get();
    objects_.push_back(std::move(owned));
    return raw;
  }

 private:
  [[noreturn]] void refuse() const;
  size_t max_bytes_, used_bytes_ = 0;
  std::deque<std::string> strings_;
  std::deque<List> lists_;
  std::deque<Dict> dicts_;
  std::vector<std::unique_ptr<Object>> objects_;
};

// Python's name of the type: "str", "int", "list", ...
std::string type_name(const Value& value);

struct CallArgs {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Binds call arguments to parameter names as Python does. Throws Fault for an unknown or doubled
// name, for too many arguments, and when one of the first n_required is missing.
class Params {
 public:
  Params(std::string_view callee, const CallArgs& args, std::initializer_list<const char*> names,
         size_t n_required = 0);
  bool has(size_t i) const { return values_[i].has_value(); }
  const Value& operator[](size_t i) const { return *values_[i]; }
  // Typed access with a default; a value of another type is a Fault naming the parameter.
  Int integer(size_t i, Int fallback) const;
  bool boolean(size_t i, bool fallback) const;
  std::string string(size_t i, std::string_view fallback) const;
  Value value(size_t i, Value fallback = Value()) const { return has(i) ? *values_[i] : fallback; }

 private:
  std::string callee_;
  std::vector<const char*> names_;
  std::vector<std::optional<Value>> values_;
};

}  // namespace hunch::jinja
