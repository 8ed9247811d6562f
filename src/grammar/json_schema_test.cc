// Schemas: each with texts that are valid and texts that are not; and what is refused by name.
#include "grammar/json_schema.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "grammar/states.h"

namespace hunch::grammar {
namespace {

using Json = nlohmann::ordered_json;

bool matches(const Rules& rules, std::string_view text) {
  const Automaton automaton(rules);
  States states(automaton);
  States::Id at = states.start();
  for (const char c : text)
    if (at = states.step(at, uint8_t(c)); at == States::kDead) return false;
  return states.is_complete(at);
}

struct Case {
  const char* schema;
  std::vector<const char*> valid, invalid;
};

const Case kCases[] = {
    {"{}",
     {"1", "\"a\"", "[1, {\"a\": null}]", "-1.5e-10", "true"},
     {"", "01", "[1,]", "{\"a\"}", "\"\\ud800\"", "\"\\x\"", "\"\n\"", "nul", "1e999"}},
    {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "boolean"}}, "required": ["b"]})",
     {R"({"b":"x"})", R"({"a": 1, "b": "x"})", R"({"b": "\u00e4\ud83d\ude00\/", "c": true})",
      "{\n  \"a\": -3,\n  \"b\": \"\",\n  \"c\": false\n}"},
     {R"({})", R"({"a": 1})", R"({"b": 1})", R"({"a": 1.5, "b": "x"})", R"({"b": "x", "d": 1})", R"({"b": "x",})",
      R"({"a": 1 "b": "x"})"}},
    {R"({"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "null"}})",
     {R"({"a": [1], "b": null, "ab": null})", R"({"x": null})", "{}"},
     {R"({"a": 1, "a": null})", R"({"b": 1})"}},
    {R"({"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 2})",
     {"{}", R"({"a": 1, "b": 2})"},
     {R"({"a": 1, "b": 2, "c": 3})"}},
    {R"({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3})",
     {"[1,2]", "[\n  1,\n  2,\n  3\n]"},
     {"[1]", "[1,2,3,4]", "[]", "[1,\"a\"]"}},
    {R"({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 1})",
     {R"(["a"])", R"(["a", 1])"},
     {"[]", R"([1])", R"(["a", 1, 2])"}},
    {R"({"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "null"}, "maxItems": 2})",
     {"[]", R"(["a"])", R"(["a", null])"},
     {R"(["a", null, null])", "[null]"}},
    {R"({"enum": ["a", 1, null, {"b": [1]}], "type": ["string", "object"]})",
     {"\"a\"", R"({"b":[1]})", "{\n  \"b\": [\n    1\n  ]\n}"},
     {"1", "null"}},
    {R"({"const": "a\"b"})", {R"("a\"b")"}, {"\"a\""}},
    {R"({"anyOf": [{"type": "integer", "minimum": 5}, {"type": "string"}], "description": "x"})",
     {"5", "\"\""},
     {"4", "true"}},
    {R"({"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}, "n": {"type": "integer"}}, "required": ["k", "n"]},
                   {"type": "object", "properties": {"k": {"const": "b"}}, "required": ["k"]}]})",
     {R"({"k": "a", "n": 1})", R"({"k": "b"})"},
     {R"({"k": "a"})", R"({"k": "c"})"}},
    {R"({"allOf": [{"$ref": "#/$defs/base"}, {"properties": {"b": {"type": "integer"}}, "required": ["b"]}], "$defs": {"base":
         {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}})",
     {R"({"a": "x", "b": 1})"},
     {R"({"a": "x"})", R"({"b": 1})"}},
    {R"({"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]})",
     {R"({"next": {"next": {"next": null}}})"},
     {R"({"next": {"next": {}}})"}},
    {R"({"type": "string", "minLength": 2, "maxLength": 3})",
     {R"("äöü")", R"("\ud83d\ude00a")", R"("\"\n")"},
     {R"("a")", R"("abcd")"}},
    {R"({"type": "string", "pattern": "^[A-Z]{2}\\d+$"})", {R"("AB12")"}, {R"("AB")", R"("xAB1")", "12"}},
    {R"({"type": "string", "pattern": "a\"?b", "maxLength": 5})",
     {R"("xa\"by")", R"("ab")"},
     {R"("a")", R"("xxxab1")"}},
    {R"({"type": "string", "format": "date"})",
     {R"("2024-02-29")", R"("2026-11-28")"},
     {R"("2023-02-29")", R"("2026-13-01")", R"("1900-02-29")", R"("2026-04-31")"}},
    {R"({"type": "string", "format": "date-time"})",
     {R"("2026-11-28T12:00:00Z")", R"("2026-11-28T12:00:00.5+02:00")"},
     {R"("2026-11-28 12:00:00Z")", R"("2026-11-28T24:00:00Z")"}},
    {R"({"type": "string", "format": "uuid"})", {R"("2eb8aa08-aa98-11ea-b4aa-73b441d16380")"}, {R"("2eb8aa08")"}},
    {R"({"type": "string", "format": "ipv4"})", {R"("192.168.0.255")"}, {R"("192.168.0.256")", R"("1.2.3")"}},
    {R"({"type": "string", "format": "ipv6"})",
     {R"("::1")", R"("1:2:3:4:5:6:7:8")", R"("fe80::1:2")", R"("1:2:3:4:5:6:7::")", R"("::")"},
     {R"("1:2")", R"("1::2::3")", R"("1:2:3:4:5:6:7:8::")"}},
    {R"({"type": "string", "format": "email"})", {R"("a.b@example.org")"}, {R"("a@b@c.d")", R"("a")"}},
    {R"({"type": "integer", "minimum": -5, "maximum": 123})",
     {"-5", "0", "99", "123"},
     {"-6", "124", "1000", "007", "1.0"}},
    {R"({"type": "integer", "exclusiveMinimum": 9, "exclusiveMaximum": 1000})", {"10", "999"}, {"9", "1000", "-10"}},
    {R"({"type": "number", "minimum": 0.25, "maximum": 1})",
     {"0.25", "0.3", "1", "1.0", "0.999"},
     {"0.2", "1.01", "0", "2", "-0.5"}},
    {R"({"type": "number", "exclusiveMaximum": -1.5})", {"-1.51", "-2", "-10.0"}, {"-1.5", "-1", "0", "-1.4999", "3"}},
    {R"({"type": ["integer", "null"]})", {"3", "null"}, {"3.5", "true"}},
};

TEST(JsonSchema, ValidTextsAndNoOthers) {
  for (const Case& c : kCases) {
    const Rules rules = schema_rules(Json::parse(c.schema));
    for (const char* text : c.valid) EXPECT_TRUE(matches(rules, text)) << c.schema << "\n" << text;
    for (const char* text : c.invalid) EXPECT_FALSE(matches(rules, text)) << c.schema << "\n" << text;
  }
}

// Bounds of numbers against comparing the numbers themselves.
TEST(JsonSchema, BoundsOfNumbersCompareAsNumbersDo) {
  const double bounds[] = {-101.25, -10, -0.5, 0, 0.07, 1, 9, 10, 99.9, 100};
  std::vector<std::string> texts;
  for (int i = -1200; i <= 1200; i += 7) texts.push_back(Json(i / 10.0).dump());
  for (int i = -120; i <= 120; ++i) texts.push_back(std::to_string(i));
  for (const double bound : bounds)
    for (const char* key : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
      for (const char* type : {"number", "integer"}) {
        const Automaton automaton(schema_rules({{"type", type}, {key, bound}}));
        for (const std::string& text : texts) {
          States states(automaton);
          States::Id at = states.start();
          for (const char c : text) at = at == States::kDead ? at : states.step(at, uint8_t(c));
          const double x = std::stod(text);
          if (x == 0 && text[0] == '-') continue;
          const std::string k = key;
          const bool holds = k == "minimum"            ? x >= bound
                             : k == "maximum"          ? x <= bound
                             : k == "exclusiveMinimum" ? x > bound
                                                       : x < bound;
          const bool is_integer = text.find('.') == text.npos;
          EXPECT_EQ(at != States::kDead && states.is_complete(at),
                    holds && (is_integer || type == std::string("number")))
              << text << " " << key << " " << bound << " " << type;
        }
      }
}

std::string refused(const char* schema) {
  try {
    Automaton{schema_rules(Json::parse(schema))};
  } catch (const Error& e) {
    EXPECT_TRUE(e.kind() == ErrorKind::kUsage || e.kind() == ErrorKind::kUnsupported || e.kind() == ErrorKind::kLimit);
    return e.what();
  }
  return "-";
}

TEST(JsonSchema, WhatItDoesNotHoldIsRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"not": {}})", "'not'"},
      {R"({"properties": {"a": {"multipleOf": 3}}})", "#/properties/a: 'multipleOf'"},
      {R"({"patternProperties": {}})", "'patternProperties'"},
      {R"({"uniqueItems": true})", "'uniqueItems'"},
      {R"({"if": {}, "then": {}})", "'if'"},
      {R"({"type": "string", "format": "iri"})", "'iri'"},
      {R"-({"type": "string", "pattern": "(?=a)"})-", "look-ahead"},
      {R"({"$ref": "http://example.org/x"})", "outside"},
      {R"({"$ref": "#/nowhere"})", "leads nowhere"},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", "oneOf"},
      {R"({"type": "text"})", "no type"},
      {R"({"items": 3})", "expected an object"},
      {R"({"minProperties": 3})", "'minProperties'"},
      {R"({"type": "string", "maxLength": 100000})", "maxLength beyond"},
      {R"({"$ref": "#"})", "no text matches"},
      {"false", "no text matches"},
      {R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})", "no text matches"},
      {"3", "expected an object"},
  };
  for (const auto& [schema, what] : cases)
    EXPECT_NE(refused(schema).find(what), std::string::npos) << schema << ": " << refused(schema);
}

// Small schemas that would take forever, or all memory, or all of the stack.
TEST(JsonSchema, WhatGrowsBeyondMeasureIsRefused) {
  Json doubles = {{"$ref", "#/$defs/0"}, {"$defs", {{"60", {{"type", "string"}}}}}};
  for (size_t i = 0; i < 60; ++i) {
    const Json next = {{"$ref", fmt::format("#/$defs/{}", i + 1)}};
    doubles["$defs"][std::to_string(i)] = {{"allOf", Json::array({next, next})}};
  }
  Json many = Json::array(), empty = Json::array(), apart = Json::array(), nested = Json{{"enum", {1, 2}}};
  for (size_t i = 0; i < 1500; ++i) {
    many.push_back(std::to_string(i));
    empty.push_back(Json::object());
    apart.push_back({{"const", i}});
  }
  for (size_t i = 0; i < 20; ++i) nested = {{"enum", {1, 2, 3}}, {"properties", {{"a", nested}}}};
  const std::pair<Json, const char*> cases[] = {
      {doubles, "too large"},
      {Json{{"enum", many}, {"anyOf", empty}}, "too large"},
      {Json{{"oneOf", apart}}, "oneOf of more than"},
      {nested, "nests too deeply"},
      {Json::parse(R"({"enum": [{"x": 1}], "properties": {"x": {"$ref": "#"}}})"), "nests too deeply"},
  };
  for (const auto& [schema, what] : cases) {
    const std::string text = schema.dump();
    EXPECT_NE(refused(text.c_str()).find(what), std::string::npos)
        << text.substr(0, 100) << ": " << refused(text.c_str());
  }
  // Each of many constants is held to a large pattern, which is compiled once.
  const Json large = {{"enum", many}, {"type", "string"}, {"pattern", "^([0-9]{1,30}x?){1,50}$"}};
  EXPECT_EQ(refused(large.dump().c_str()), "-");
}

TEST(JsonSchema, AsSpecifiedTypesAreFreeAndObjectsOpen) {
  const Json schema = Json::parse(R"({"properties": {"a": {"type": "integer"}}, "required": ["b"]})");
  const Rules rules = schema_rules(schema, {.as_specified = true});
  EXPECT_TRUE(matches(rules, "3") && matches(rules, R"({"a": 1, "b": [], "c": null})"));
  EXPECT_FALSE(matches(rules, R"({"a": "x", "b": 1})") || matches(rules, R"({"a": 1})"));
  EXPECT_FALSE(matches(schema_rules(schema), "3"));
}

TEST(JsonSchema, ManyOptionalPropertiesStayLinear) {
  Json schema = {{"type", "object"}, {"properties", Json::object()}};
  for (int i = 0; i < 500; ++i) schema["properties"]["property_" + std::to_string(i)] = {{"type", "string"}};
  const Automaton automaton(schema_rules(schema));
  EXPECT_LT(automaton.n_states(), 20'000u);
  EXPECT_TRUE(matches(json_object_rules(), R"({"a": [1, {"b": {}}]})"));
  EXPECT_FALSE(matches(json_object_rules(), "[1]"));
}

}  // namespace
}  // namespace hunch::grammar
