#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "jinja/brace_format.h"
#include "jinja/methods.h"
#include "jinja/text_operations.h"
#include "jinja/unicode.h"

namespace hunch::jinja {
namespace {

using View = std::string_view;

Value text(Runtime& rt, View v) { return rt.heap.string(std::string(v)); }

// Methods without arguments that map text to text.
template <std::string (*F)(View)>
Value mapped(Runtime& rt, const Value& self, const CallArgs& args) {
  Params("the method", args, {});
  return rt.heap.string(F(*self.string));
}

// Methods without arguments that ask whether all characters are of a kind (and there is one).
template <bool (*F)(int32_t)>
Value all_are(Runtime&, const Value& self, const CallArgs& args) {
  Params("the method", args, {});
  const std::string& s = *self.string;
  for (size_t at = 0; at < s.size();) {
    const CodePoint c = decode_at(s, at);
    if (!F(c.value)) return Value(false);
    at += c.n_bytes;
  }
  return Value(!s.empty());
}

bool is_alphanumeric(int32_t c) { return is_alpha(c) || is_numeric(c); }

template <bool kLeft, bool kRight>
Value stripped(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("strip()", args, {"chars"});
  if (!p.has(0) || p[0].is_none()) return text(rt, strip(*self.string, kLeft, kRight));
  const std::string chars = p.string(0, "");
  rt.spend(chars.size());
  return text(rt, strip(*self.string, kLeft, kRight, &chars));
}

template <bool kFromRight>
Value split(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p(kFromRight ? "rsplit()" : "split()", args, {"sep", "maxsplit"});
  const Int max = p.integer(1, -1);
  std::optional<std::string> separator;
  if (p.has(0) && !p[0].is_none()) separator = p.string(0, "");
  std::vector<Value> items;
  for (View part : split_text(*self.string, separator ? &*separator : nullptr, max, kFromRight)) {
    items.push_back(text(rt, part));
  }
  return rt.heap.list(std::move(items));
}

Value splitlines(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("splitlines()", args, {"keepends"});
  std::vector<Value> items;
  for (View line : split_lines(*self.string, p.boolean(0, false))) items.push_back(text(rt, line));
  return rt.heap.list(std::move(items));
}

// The part of the text between the character positions start and end (may be negative or None), and
// where it begins, in characters.
struct Window {
  View text;
  size_t first;
};
Window window(const std::string& s, const Params& p, size_t i_start) {
  if (!p.has(i_start)) return {s, 0};
  const auto chars = characters(s);
  const Int n = Int(chars.size());
  const auto place = [&](size_t i, Int fallback) {
    if (!p.has(i) || p[i].is_none()) return fallback;
    const Int at = p.integer(i, 0);
    return std::clamp(at < 0 ? at + n : at, Int(0), n);
  };
  const Int start = place(i_start, 0), end = std::max(place(i_start + 1, n), start);
  size_t skip = 0, size = 0;
  for (Int i = 0; i < start; i++) skip += chars[size_t(i)].size();
  for (Int i = start; i < end; i++) size += chars[size_t(i)].size();
  return {View(s).substr(skip, size), size_t(start)};
}

template <bool kAtEnd>
Value starts_or_ends(Runtime&, const Value& self, const CallArgs& args) {
  const Params p(kAtEnd ? "endswith()" : "startswith()", args, {"affix", "start", "end"}, 1);
  const View s = window(*self.string, p, 1).text;
  const auto matches = [&](const Value& affix) {
    if (!affix.is_string())
      throw Fault(fmt::format("startswith() and endswith() need a str, found {}", type_name(affix)));
    const View a = *affix.string;
    if (a.size() > s.size()) return false;
    return (kAtEnd ? s.substr(s.size() - a.size()) : s.substr(0, a.size())) == a;
  };
  if (!p[0].is(Kind::kTuple)) return Value(matches(p[0]));
  return Value(std::any_of(p[0].list->items.begin(), p[0].list->items.end(), matches));
}

template <bool kLast, bool kMustExist>
Value find(Runtime&, const Value& self, const CallArgs& args) {
  const Params p(kMustExist ? "index()" : "find()", args, {"sub", "start", "end"}, 1);
  const Window w = window(*self.string, p, 1);
  const std::string sub = p.string(0, "");
  const size_t at = kLast ? w.text.rfind(sub) : w.text.find(sub);
  if (at == View::npos) {
    if (kMustExist) throw Fault("index(): substring not found");
    return Value(Int(-1));
  }
  return Value(Int(w.first + n_code_points(w.text.substr(0, at))));
}

Value count(Runtime&, const Value& self, const CallArgs& args) {
  const Params p("count()", args, {"sub", "start", "end"}, 1);
  const View s = window(*self.string, p, 1).text;
  const std::string sub = p.string(0, "");
  if (sub.empty()) return Value(Int(n_code_points(s) + 1));
  Int n = 0;
  for (size_t at = s.find(sub); at != View::npos; at = s.find(sub, at + sub.size())) n++;
  return Value(n);
}

Value replace(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("replace()", args, {"old", "new", "count"}, 2);
  return rt.heap.string(replace_text(*self.string, p.string(0, ""), p.string(1, ""), p.integer(2, -1)));
}

Value join(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("join()", args, {"iterable"}, 1);
  std::string out;
  bool first = true;
  for (const Value& item : iterate(rt.heap, p[0])) {
    if (!item.is_string()) throw Fault(fmt::format("join() needs items of type str, found {}", type_name(item)));
    if (!first) out += *self.string;
    first = false;
    out += *item.string;
    check_text_size(out.size());
  }
  return rt.heap.string(std::move(out));
}

Value format(Runtime& rt, const Value& self, const CallArgs& args) {
  return rt.heap.string(brace_format(rt.heap, *self.string, args));
}

template <int kAlign>  // -1: text left, 0: centred, 1: text right
Value justify(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("ljust(), rjust() or center()", args, {"width", "fillchar"}, 1);
  return rt.heap.string(justify_text(*self.string, p.integer(0, 0), p.string(1, " "), kAlign));
}

Value zfill(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("zfill()", args, {"width"}, 1);
  const std::string& s = *self.string;
  const bool sign = !s.empty() && (s[0] == '-' || s[0] == '+');
  const std::string digits = justify_text(s.substr(sign), p.integer(0, 0) - sign, "0", 1);
  return rt.heap.string(s.substr(0, sign) + digits);
}

template <bool kLast>
Value partition(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p("partition()", args, {"sep"}, 1);
  const View s = *self.string;
  const std::string sep = p.string(0, "");
  if (sep.empty()) throw Fault("partition() needs a separator that is not empty");
  const size_t at = kLast ? s.rfind(sep) : s.find(sep);
  if (at == View::npos) {
    return kLast ? rt.heap.tuple({text(rt, ""), text(rt, ""), self})
                 : rt.heap.tuple({self, text(rt, ""), text(rt, "")});
  }
  return rt.heap.tuple({text(rt, s.substr(0, at)), text(rt, sep), text(rt, s.substr(at + sep.size()))});
}

template <bool kSuffix>
Value remove_affix(Runtime& rt, const Value& self, const CallArgs& args) {
  const Params p(kSuffix ? "removesuffix()" : "removeprefix()", args, {"affix"}, 1);
  const View s = *self.string;
  const std::string affix = p.string(0, "");
  if (affix.size() > s.size()) return self;
  const size_t rest = s.size() - affix.size();
  if ((kSuffix ? s.substr(rest) : s.substr(0, affix.size())) != affix) return self;
  return text(rt, kSuffix ? s.substr(0, rest) : s.substr(affix.size()));
}

template <bool kUpper>
Value has_case(Runtime&, const Value& self, const CallArgs& args) {
  Params("isupper() or islower()", args, {});
  return Value(kUpper ? all_cased_upper(*self.string) : all_cased_lower(*self.string));
}

constexpr Method kMethods[] = {
    {"capitalize", mapped<capitalize>},
    {"casefold", mapped<to_lower>},
    {"center", justify<0>},
    {"count", count},
    {"endswith", starts_or_ends<true>},
    {"find", find<false, false>},
    {"format", format},
    {"index", find<false, true>},
    {"isalnum", all_are<is_alphanumeric>},
    {"isalpha", all_are<is_alpha>},
    {"isdecimal", all_are<is_digit>},
    {"isdigit", all_are<is_digit>},
    {"islower", has_case<false>},
    {"isnumeric", all_are<is_numeric>},
    {"isspace", all_are<is_space>},
    {"isupper", has_case<true>},
    {"join", join},
    {"ljust", justify<-1>},
    {"lower", mapped<to_lower>},
    {"lstrip", stripped<true, false>},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"replace", replace},
    {"rfind", find<true, false>},
    {"rindex", find<true, true>},
    {"rjust", justify<1>},
    {"rpartition", partition<true>},
    {"rsplit", split<true>},
    {"rstrip", stripped<false, true>},
    {"split", split<false>},
    {"splitlines", splitlines},
    {"startswith", starts_or_ends<false>},
    {"strip", stripped<true, true>},
    {"swapcase", mapped<swap_case>},
    {"title", mapped<title_case>},
    {"upper", mapped<to_upper>},
    {"zfill", zfill},
};

}  // namespace

const Method* find_string_method(std::string_view name) {
  for (const Method& m : kMethods) {
    if (name == m.name) return &m;
  }
  return nullptr;
}

Value BoundMethod::call_markup(Runtime& rt, const CallArgs& args) const {
  const auto escaped = [&](const Value& v) {
    return v.is_string() && !v.markup ? rt.heap.string(escape_html(*v.string)).as_markup() : v;
  };
  CallArgs safe_args = args;
  for (Value& v : safe_args.positional) {
    if (!v.is_sequence()) {
      v = escaped(v);
    } else if (std::string_view(method.name) == "join") {
      std::vector<Value> items;
      for (const Value& item : v.list->items) items.push_back(escaped(item));
      v = rt.heap.list(std::move(items));
    }
  }
  for (auto& [name, v] : safe_args.named) v = escaped(v);
  const Value result = method.call(rt, self, safe_args);
  if (result.is_sequence()) {
    for (Value& v : result.list->items) v = v.as_markup();
  }
  return result.as_markup();
}

const Method* find_method(Kind kind, std::string_view name) {
  switch (kind) {
    case Kind::kString: return find_string_method(name);
    case Kind::kList: return find_list_method(name);
    case Kind::kTuple: return find_tuple_method(name);
    case Kind::kDict: return find_dict_method(name);
    default: return nullptr;
  }
}

}  // namespace hunch::jinja
