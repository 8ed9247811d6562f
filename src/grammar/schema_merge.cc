#include "grammar/schema_merge.h"

#include <algorithm>
#include <optional>

#include "base/error.h"

namespace hunch::grammar {
namespace {

using Json = SchemaJson;

std::vector<std::string> types_of(const Json& type) {
  std::vector<std::string> out;
  for (const Json& t : type.is_array() ? type : Json::array({type}))
    if (t.is_string()) out.push_back(t.get<std::string>());
  return out;
}

bool one_of(const std::vector<std::string>& all, const std::string& one) {
  return std::ranges::find(all, one) != all.end();
}

Json both_types(const Json& a, const Json& b) {
  const std::vector<std::string> x = types_of(a), y = types_of(b);
  Json out = Json::array();
  for (const std::string& t : x) {
    if (one_of(y, t)) out.push_back(t);
    if (t == "integer" && one_of(y, "number") && !one_of(y, "integer")) out.push_back("integer");
    if (t == "number" && one_of(y, "integer") && !one_of(x, "integer")) out.push_back("integer");
  }
  return out;
}

// The values of "const" or "enum"; none: any.
std::optional<std::vector<Json>> values_of(const Json& schema) {
  if (!schema.is_object()) return std::nullopt;
  if (schema.contains("const")) return std::vector<Json>{schema["const"]};
  if (!schema.contains("enum") || !schema["enum"].is_array()) return std::nullopt;
  return schema["enum"].get<std::vector<Json>>();
}

bool share_none(const std::vector<Json>& a, const std::vector<Json>& b) {
  return std::ranges::none_of(a, [&](const Json& x) { return std::ranges::find(b, x) != b.end(); });
}

bool two_are_disjoint(const Json& a, const Json& b) {
  if (a == false || b == false) return true;
  if (!a.is_object() || !b.is_object()) return false;
  if (a.contains("type") && b.contains("type") && both_types(a["type"], b["type"]).empty()) return true;
  const auto x = values_of(a), y = values_of(b);
  if (x && y) return share_none(*x, *y);
  // A property with other values in each, where both are objects that have it.
  const auto is_object = [](const Json& s) {
    return s.contains("type") && s["type"] == "object" && s.contains("properties");
  };
  if (!is_object(a) || !is_object(b)) return false;
  const auto requires_it = [](const Json& s, const std::string& name) {
    return s.contains("required") && s["required"].is_array() &&
           std::ranges::find(s["required"], Json(name)) != s["required"].end();
  };
  for (const auto& [name, schema] : a["properties"].items()) {
    if (!b["properties"].contains(name)) continue;
    if (!requires_it(a, name) && !requires_it(b, name)) continue;
    if (two_are_disjoint(schema, b["properties"][name]) && requires_it(a, name) && requires_it(b, name)) return true;
  }
  return false;
}

}  // namespace

bool is_annotation(const std::string& keyword) {
  static const std::vector<std::string> kAll = {
      "title",   "description",   "default",      "example",  "examples",        "$schema",     "$id",
      "id",      "$comment",      "deprecated",   "readOnly", "writeOnly",       "definitions", "$defs",
      "$anchor", "discriminator", "externalDocs", "xml",      "propertyOrdering"};
  return one_of(kAll, keyword) || keyword.starts_with("x-");
}

bool are_disjoint(const std::vector<Json>& schemas) {
  for (size_t i = 0; i < schemas.size(); ++i)
    for (size_t k = 0; k < i; ++k)
      if (!two_are_disjoint(schemas[i], schemas[k])) return false;
  return true;
}

Json merged_schemas(const Json& a, const Json& b, const std::string& where) {
  if (a == false || b == false) return false;
  if (a == true) return b;
  if (b == true) return a;
  const auto conflict = [&](const std::string& key) {
    fail(ErrorKind::kUnsupported, "the schema at {}: two '{}' that must both hold are not supported", where, key);
  };
  if (!a.is_object() || !b.is_object()) fail(ErrorKind::kUsage, "the schema at {} is no schema", where);
  Json out = a;
  // Each closes or opens over its own properties only.
  const auto closes = [](const Json& s) {
    return s.contains("additionalProperties") && s["additionalProperties"] != true;
  };
  if (closes(a) || closes(b)) {
    const auto names = [](const Json& s) {
      std::vector<std::string> keys;
      if (s.contains("properties") && s["properties"].is_object())
        for (const auto& [name, value] : s["properties"].items()) keys.push_back(name);
      std::ranges::sort(keys);
      return keys;
    };
    if (names(a) != names(b)) conflict("additionalProperties");
  }
  // "items" is about those behind the list's own first ones.
  const auto has_first = [](const Json& s) {
    return s.contains("prefixItems") || (s.contains("items") && s["items"].is_array());
  };
  const auto has_rest = [](const Json& s) { return s.contains("items") || s.contains("additionalItems"); };
  if (has_first(a) != has_first(b) && (has_rest(a) || has_rest(b))) conflict("items");
  for (const auto& [key, value] : b.items()) {
    if (!out.contains(key)) {
      out[key] = value;
      continue;
    }
    Json& mine = out[key];
    if (mine == value || is_annotation(key)) continue;
    if (key == "type") {
      mine = both_types(mine, value);
    } else if (key == "required" && mine.is_array() && value.is_array()) {
      for (const Json& name : value)
        if (std::ranges::find(mine, name) == mine.end()) mine.push_back(name);
    } else if (key == "properties" && mine.is_object() && value.is_object()) {
      for (const auto& [name, schema] : value.items())
        mine[name] = mine.contains(name) ? Json{{"allOf", Json::array({mine[name], schema})}} : schema;
    } else if ((key == "items" || key == "additionalProperties" || key == "additionalItems") && !mine.is_array() &&
               !value.is_array()) {
      mine = {{"allOf", Json::array({mine, value})}};
    } else if (key == "enum" && mine.is_array() && value.is_array()) {
      std::erase_if(mine.get_ref<Json::array_t&>(),
                    [&, &theirs = value](const Json& v) { return std::ranges::find(theirs, v) == theirs.end(); });
    } else if (key == "const") {
      return false;
    } else if ((key == "minimum" || key == "exclusiveMinimum" || key == "minLength" || key == "minItems" ||
                key == "minProperties") &&
               mine.is_number() && value.is_number()) {
      mine = mine.get<double>() > value.get<double>() ? mine : value;
    } else if ((key == "maximum" || key == "exclusiveMaximum" || key == "maxLength" || key == "maxItems" ||
                key == "maxProperties") &&
               mine.is_number() && value.is_number()) {
      mine = mine.get<double>() < value.get<double>() ? mine : value;
    } else if (key == "allOf" && mine.is_array() && value.is_array()) {
      for (const Json& one : value) mine.push_back(one);
    } else {
      conflict(key);
    }
  }
  return out;
}

}  // namespace hunch::grammar
