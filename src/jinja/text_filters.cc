#include <fmt/format.h>

#include <algorithm>

#include "jinja/filters.h"
#include "jinja/percent_format.h"
#include "jinja/text_operations.h"
#include "jinja/unicode.h"

namespace hunch::jinja {
namespace {

using View = std::string_view;

// Filters that keep what is Markup Markup, as Python's methods of strings do.
template <std::string (*F)(View)>
Value keeping_markup(Runtime& rt, const Value& input, const CallArgs& args) {
  Params("the filter", args, {});
  return rt.heap.string(F(to_text(input))).as_markup(input.markup);
}

template <std::string (*F)(View)>
Value mapped(Runtime& rt, const Value& input, const CallArgs& args) {
  Params("the filter", args, {});
  return rt.heap.string(F(to_text(input)));
}

// A word begins at the start and after white space, a hyphen or an opening bracket.
std::string title_words(View text) {
  std::string out;
  bool begins = true;
  for (View c : characters(text)) {
    const int32_t value = decode_at(c, 0).value;
    const bool separates = is_space(value) || (c.size() == 1 && View("-({[<").find(c) != View::npos);
    out += separates ? std::string(c) : begins ? to_upper(c) : to_lower(c);
    begins = separates;
  }
  return out;
}

Value trim(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("trim", args, {"chars"});
  const std::string s = to_text(input);
  if (!p.has(0) || p[0].is_none()) return rt.heap.string(std::string(strip(s))).as_markup(input.markup);
  const std::string chars = p.string(0, "");
  rt.spend(chars.size());
  return rt.heap.string(std::string(strip(s, true, true, &chars))).as_markup(input.markup);
}

Value replace(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("replace", args, {"old", "new", "count"}, 2);
  const Int count = p.has(2) && p[2].is_none() ? Int(-1) : p.integer(2, -1);
  return rt.heap.string(replace_text(to_text(input), to_text(p[0]), to_text(p[1]), count));
}

Value indent(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("indent", args, {"width", "first", "blank"});
  std::string indention = "    ";
  if (p.has(0)) indention = p[0].is_string() ? *p[0].string : justify_text("", p.integer(0, 4), " ", -1);
  return rt.heap.string(indent_text(to_text(input), indention, p.boolean(1, false), p.boolean(2, false)));
}

Value center(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("center", args, {"width"});
  return rt.heap.string(justify_text(to_text(input), p.integer(0, 80), " ", 0));
}

Value truncate(Runtime& rt, const Value& input, const CallArgs& args) {
  const Params p("truncate", args, {"length", "killwords", "end", "leeway"});
  const std::string s = to_text(input), end = p.string(2, "...");
  const auto chars = characters(s);
  const Int length = p.integer(0, 255), n_end = Int(n_code_points(end));
  const Int leeway = p.has(3) && p[3].is_none() ? Int(5) : p.integer(3, 5);
  if (length < n_end || leeway < 0) throw Fault("truncate: length must be at least that of 'end', leeway at least 0");
  if (Int(chars.size()) <= length + leeway) return rt.heap.string(s);
  size_t n_bytes = 0;
  for (size_t i = 0; i < size_t(length - n_end); i++) n_bytes += chars[i].size();
  std::string kept = s.substr(0, n_bytes);
  if (!p.boolean(1, false)) kept = kept.substr(0, kept.rfind(' '));
  return rt.heap.string(kept + end);
}

Value word_count(Runtime&, const Value& input, const CallArgs& args) {
  Params("wordcount", args, {});
  Int n = 0;
  bool in_word = false;
  const std::string text = to_text(input);
  for (View c : characters(text)) {
    const int32_t value = decode_at(c, 0).value;
    const bool word = value == '_' || is_alpha(value) || is_numeric(value);
    n += word && !in_word;
    in_word = word;
  }
  return Value(n);
}

Value format(Runtime& rt, const Value& input, const CallArgs& args) {
  if (!args.positional.empty() && !args.named.empty()) throw Fault("format: positional or named arguments, not both");
  if (args.named.empty()) return rt.heap.string(percent_format(to_text(input), rt.heap.tuple(args.positional)));
  Dict* named = rt.heap.dict();
  for (const auto& [name, value] : args.named) named->set(rt.heap.string(name), value);
  return rt.heap.string(percent_format(to_text(input), Value(named)));
}

std::string unchanged(View text) { return std::string(text); }

Value safe(Runtime& rt, const Value& input, const CallArgs& args) {
  Params("safe", args, {});
  return rt.heap.string(to_text(input)).as_markup();
}

template <bool kForce>
Value escape(Runtime& rt, const Value& input, const CallArgs& args) {
  Params("escape", args, {});
  if (input.markup && !kForce) return input;
  return rt.heap.string(escape_html(to_text(input))).as_markup();
}

Value url_encode(Runtime& rt, const Value& input, const CallArgs& args) {
  Params("urlencode", args, {});
  if (!input.is(Kind::kDict)) return rt.heap.string(percent_encode(to_text(input), "/"));
  std::string out;
  for (const auto& [key, value] : input.dict->items()) {
    if (!out.empty()) out += '&';
    const std::string pair = percent_encode(to_text(key), " ") + "=" + percent_encode(to_text(value), " ");
    out += replace_text(pair, " ", "+", -1);
    check_text_size(out.size());
  }
  return rt.heap.string(std::move(out));
}

constexpr FilterEntry kFilters[] = {
    {"capitalize", keeping_markup<capitalize>},
    {"center", center},
    {"e", escape<false>},
    {"escape", escape<false>},
    {"forceescape", escape<true>},
    {"format", format},
    {"indent", indent},
    {"lower", keeping_markup<to_lower>},
    {"replace", replace},
    {"safe", safe},
    {"string", keeping_markup<unchanged>},
    {"striptags", mapped<strip_tags>},
    {"title", mapped<title_words>},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", keeping_markup<to_upper>},
    {"urlencode", url_encode},
    {"wordcount", word_count},
};

}  // namespace

std::span<const FilterEntry> text_filters() { return kFilters; }

}  // namespace hunch::jinja
