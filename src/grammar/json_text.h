// The pieces of JSON's grammar.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "grammar/expression.h"

namespace hunch::grammar {

// Characters inside a JSON text: by themselves, or escaped where they have to be (\", \\, \n, \u001f).
Expr json_chars(const CharSet& set);
// One character in any spelling that is one: \/ and \u0041 too, pairs of surrogates, no half of one.
Expr json_char();
// What may stand between two parts: nothing, a space, or a line end and at most 64 blanks: compact and pretty JSON.
Expr json_space();
// This value, compact or pretty.
Expr json_constant(const nlohmann::ordered_json& value);

// Rules for JSON values, each made when it is first asked for.
class JsonRules {
 public:
  explicit JsonRules(Rules& rules) : rules_(rules) {}

  Expr any() { return of(any_, "value", &JsonRules::any_body); }
  Expr object() { return of(object_, "object", &JsonRules::object_body); }
  Expr array() { return of(array_, "array", &JsonRules::array_body); }
  Expr text() { return of(text_, "string", &JsonRules::text_body); }
  Expr space() { return of(space_, "space", &JsonRules::space_body); }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  Expr of(uint32_t& rule, const char* name, Expr (JsonRules::*body)());
  Expr any_body();
  Expr object_body();
  Expr array_body();
  Expr text_body();
  Expr space_body();

  Rules& rules_;
  uint32_t any_ = kNone, object_ = kNone, array_ = kNone, text_ = kNone, space_ = kNone;
};

// A number: at most 17 digits before the point. Without bounds as many behind it, and an exponent of at most two, so
// that every reader can hold it; with bounds no exponent. Bounds are decimal numbers; `exclusive`: not the bound
// itself.
struct NumberBounds {
  bool integer = false;
  std::string least = {}, most = {};  // "-1.5"; empty: none
  bool exclusive_least = false, exclusive_most = false;
};
// Throws Error{kUnsupported} for bounds of more than 17 digits.
Expr json_number(const NumberBounds& bounds);

// The texts of a format of JSON schema: date-time, date, time, duration, uuid, email, hostname, ipv4, ipv6; nullptr for
// others.
Expr json_format(const std::string& format);

}  // namespace hunch::grammar
