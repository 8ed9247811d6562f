#include "grammar/json_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "grammar/dfa.h"
#include "grammar/json_text.h"
#include "grammar/regex.h"
#include "grammar/schema_merge.h"
#include "grammar/states.h"

namespace hunch::grammar {
namespace {

using Json = SchemaJson;

constexpr size_t kMostNesting = 100, kMostSchemas = 20'000;
constexpr size_t kMostCounted = 10'000;  // of minLength, maxItems, ...
// Bytes of schemas that are merged into others, each time that they are: references can double them at every level.
constexpr size_t kMostMerged = 5'000'000;
constexpr size_t kMostDisjoint = 1'000;  // alternatives of a oneOf, each compared with each
// Schemas that constants are held to inside of others, and their states together.
constexpr size_t kMostInside = 8, kMostInsideStates = 1'000'000;

const std::vector<std::string> kTypes = {"object", "array", "string", "number", "integer", "boolean", "null"};

class SchemaCompiler {
 public:
  SchemaCompiler(const Json& whole, const SchemaOptions& options) : whole_(whole), options_(options) {}

  Rules rules_of(const Json& schema, const std::string& where) {
    const uint32_t root = rules_.add("root");
    rules_.root = root;
    Expr body = value(schema, where, 0);
    rules_.rules[root].body = std::move(body);
    return std::move(rules_);
  }

 private:
  [[noreturn]] void unsupported(const std::string& where, const std::string& what) const {
    fail(ErrorKind::kUnsupported, "the schema at {}: {} is not supported", where, what);
  }
  [[noreturn]] void wrong(const std::string& where, const std::string& what) const {
    fail(ErrorKind::kUsage, "the schema at {}: {}", where, what);
  }

  Expr value(const Json& schema, const std::string& where, size_t depth) {
    if (depth > kMostNesting) wrong(where, "it nests too deeply");
    if (++n_schemas_ > kMostSchemas) wrong(where, "there are too many schemas in it");
    if (schema.is_boolean()) return schema.get<bool>() ? json_.any() : choice({});
    if (!schema.is_object()) wrong(where, fmt::format("expected an object, found {}", schema.type_name()));
    check_keywords(schema, where);
    if (schema.contains("$ref")) return reference(schema, where, depth);
    if (schema.contains("allOf")) return value(all_of(schema, where, depth), where, depth + 1);
    for (const char* key : {"anyOf", "oneOf"})
      if (schema.contains(key)) return any_of(schema, key, where, depth);
    if (schema.contains("const") || schema.contains("enum")) return constants(schema, where);
    return typed(schema, where, depth);
  }

  void check_keywords(const Json& schema, const std::string& where) const {
    static const std::vector<std::string> kKnown = {"type",
                                                    "properties",
                                                    "required",
                                                    "additionalProperties",
                                                    "items",
                                                    "prefixItems",
                                                    "additionalItems",
                                                    "minItems",
                                                    "maxItems",
                                                    "enum",
                                                    "const",
                                                    "anyOf",
                                                    "oneOf",
                                                    "allOf",
                                                    "$ref",
                                                    "minLength",
                                                    "maxLength",
                                                    "pattern",
                                                    "format",
                                                    "minimum",
                                                    "maximum",
                                                    "exclusiveMinimum",
                                                    "exclusiveMaximum",
                                                    "minProperties",
                                                    "maxProperties"};
    for (const auto& [key, what] : schema.items()) {
      if (is_annotation(key) || std::ranges::find(kKnown, key) != kKnown.end()) continue;
      if (key == "uniqueItems" && what == false) continue;
      if (key == "nullable" && what == false) continue;
      unsupported(where, fmt::format("'{}'", key.substr(0, 60)));
    }
  }

  // A schema of this document: "#" and the path to it.
  const Json& resolve(const std::string& ref, const std::string& where) const {
    if (!ref.starts_with('#') || (ref.size() > 1 && ref[1] != '/'))
      unsupported(where, fmt::format("a $ref to '{}', outside of the schema,", ref.substr(0, 100)));
    try {
      std::string pointer;
      for (size_t i = 1; i < ref.size(); ++i) {  // %25 and the like
        unsigned byte = 0;
        if (ref[i] == '%' && i + 2 < ref.size() && std::sscanf(ref.c_str() + i + 1, "%2x", &byte) == 1) {
          pointer += char(byte);
          i += 2;
        } else {
          pointer += ref[i];
        }
      }
      return whole_.at(Json::json_pointer(pointer));
    } catch (const nlohmann::json::exception&) {
      wrong(where, fmt::format("its $ref '{}' leads nowhere", ref.substr(0, 100)));
    }
  }
  static Json without(Json schema, const char* key) {
    schema.erase(key);
    return schema;
  }
  static bool says_nothing(const Json& schema) {
    if (!schema.is_object()) return false;
    for (const auto& [key, what] : schema.items())
      if (!is_annotation(key)) return false;
    return true;
  }

  Expr reference(const Json& schema, const std::string& where, size_t depth) {
    if (!schema["$ref"].is_string()) wrong(where, "its $ref is no text");
    const std::string ref = schema["$ref"];
    const Json rest = without(schema, "$ref");
    if (!says_nothing(rest)) return value(merged(resolved(ref, where, 0), rest, where), where, depth + 1);
    const Json& target = resolve(ref, where);
    const auto [at, is_new] = references_.try_emplace(ref, 0);
    if (is_new) {
      const uint32_t rule = at->second = rules_.add(ref);
      Expr body = value(target, ref, depth + 1);
      rules_.rules[rule].body = std::move(body);
    }
    return rule_ref(references_[ref]);
  }
  Json merged(const Json& a, const Json& b, const std::string& where) {
    n_merged_ += 100 + a.dump().size() + b.dump().size();
    if (n_merged_ > kMostMerged) wrong(where, "its schemas that must hold together are too large");
    return merged_schemas(a, b, where);
  }
  // The target with what it refers to itself put in its place.
  Json resolved(const std::string& ref, const std::string& where, size_t n) {
    if (n > 20) wrong(where, "its $ref leads back to itself");
    const Json& target = resolve(ref, where);
    if (!target.is_object() || !target.contains("$ref") || !target["$ref"].is_string()) return target;
    return merged(resolved(target["$ref"], where, n + 1), without(target, "$ref"), where);
  }

  Json all_of(const Json& schema, const std::string& where, size_t depth) {
    if (!schema["allOf"].is_array()) wrong(where, "its allOf is no list");
    if (depth > kMostNesting) wrong(where, "it nests too deeply");
    Json out = without(schema, "allOf");
    for (const Json& part : schema["allOf"]) {
      Json one = part;
      if (one.is_object()) check_keywords(one, where);
      if (one.is_object() && one.contains("$ref") && one["$ref"].is_string())
        one = merged(resolved(one["$ref"], where, 0), without(one, "$ref"), where);
      if (one.is_object() && one.contains("allOf")) one = all_of(one, where, depth + 1);
      out = merged(out, one, where);
    }
    return out;
  }

  Expr any_of(const Json& schema, const char* key, const std::string& where, size_t depth) {
    if (!schema[key].is_array() || schema[key].empty())
      wrong(where, fmt::format("its {} is no list, or an empty one", key));
    if (key == std::string("oneOf") && schema[key].size() > kMostDisjoint)
      unsupported(where, fmt::format("a oneOf of more than {} alternatives", kMostDisjoint));
    const Json rest = without(schema, key);
    std::vector<Json> branches;
    for (const Json& part : schema[key]) {
      Json one = part;
      const bool is_reference = one.is_object() && one.contains("$ref") && one["$ref"].is_string();
      // References stay what they are, so that they may be recursive, but where they are compared or merged.
      if (is_reference && (key == std::string("oneOf") || !says_nothing(rest))) {
        check_keywords(one, where);
        one = merged(resolved(one["$ref"], where, 0), without(one, "$ref"), where);
      }
      branches.push_back(says_nothing(rest) ? one : merged(rest, one, where));
    }
    if (key == std::string("oneOf") && !are_disjoint(branches))
      unsupported(where, "a oneOf whose alternatives may hold together (anyOf says that they may)");
    std::vector<Expr> out;
    for (size_t i = 0; i < branches.size(); ++i)
      out.push_back(value(key == std::string("oneOf") && schema[key][i].is_object() &&
                                  schema[key][i].contains("$ref") && says_nothing(rest)
                              ? schema[key][i]
                              : branches[i],
                          fmt::format("{}/{}/{}", where, key, i), depth + 1));
    return choice(std::move(out));
  }

  // Those of the values that the rest of the schema allows.
  Expr constants(const Json& schema, const std::string& where) {
    Json values = Json::array();
    if (schema.contains("enum")) {
      if (!schema["enum"].is_array()) wrong(where, "its enum is no list");
      values = schema["enum"];
    }
    if (schema.contains("const")) {
      const Json& one = schema["const"];
      const bool is_held = !schema.contains("enum") || std::ranges::find(values, one) != values.end();
      values = is_held ? Json::array({one}) : Json::array();
    }
    const Json rest = without(without(schema, "enum"), "const");
    if (!says_nothing(rest)) values = allowed(rest, std::move(values), where);
    std::vector<Expr> out;
    for (const Json& one : values) out.push_back(json_constant(one));
    return choice(std::move(out));
  }
  // Those that the schema allows, which is compiled by itself; what that takes counts as this one's.
  Json allowed(const Json& schema, Json values, const std::string& where) {
    if (n_inside_ == kMostInside) wrong(where, "it nests too deeply");
    SchemaCompiler own(whole_, options_);
    own.n_inside_ = n_inside_ + 1;
    own.n_schemas_ = n_schemas_;
    own.n_merged_ = n_merged_;
    own.n_states_ = n_states_;
    Rules rules = own.rules_of(schema, where);
    n_schemas_ = own.n_schemas_;
    n_merged_ = own.n_merged_;
    n_states_ = own.n_states_;
    std::optional<Automaton> automaton;
    try {
      automaton.emplace(rules);
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::kUsage) return Json::array();  // it matches nothing
      throw;
    }
    n_states_ += automaton->n_states();
    if (n_states_ > kMostInsideStates) wrong(where, "what its constants are held to is too large");
    std::erase_if(values.get_ref<Json::array_t&>(), [&](const Json& one) { return !matches(*automaton, one.dump()); });
    return values;
  }
  static bool matches(const Automaton& automaton, const std::string& text) {
    States states(automaton);
    States::Id at = states.start();
    for (const char c : text)
      if (at = states.step(at, uint8_t(c)); at == States::kDead) return false;
    return states.is_complete(at);
  }

  std::vector<std::string> types_of(const Json& schema, const std::string& where) const {
    std::vector<std::string> types;
    if (const auto found = schema.find("type"); found != schema.end()) {
      for (const Json& t : found->is_array() ? *found : Json::array({*found})) {
        if (!t.is_string() || std::ranges::find(kTypes, t.get<std::string>()) == kTypes.end())
          wrong(where, fmt::format("there is no type {}", t.dump().substr(0, 60)));
        types.push_back(t);
      }
      return types;
    }
    const auto has_any = [&](std::initializer_list<const char*> keys) {
      return std::ranges::any_of(keys, [&](const char* key) { return schema.contains(key); });
    };
    if (!options_.as_specified) {
      if (has_any({"properties", "required", "additionalProperties", "minProperties", "maxProperties"}))
        types.push_back("object");
      if (has_any({"items", "prefixItems", "additionalItems", "minItems", "maxItems"})) types.push_back("array");
      if (has_any({"minLength", "maxLength", "pattern", "format"})) types.push_back("string");
      if (has_any({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})) types.push_back("number");
    }
    if (types.empty()) types = {"object", "array", "string", "number", "boolean", "null"};
    return types;
  }

  Expr typed(const Json& schema, const std::string& where, size_t depth) {
    const std::vector<std::string> types = types_of(schema, where);
    if (says_nothing(schema)) return json_.any();
    std::vector<Expr> out;
    const bool has_number = std::ranges::find(types, "number") != types.end();
    for (const std::string& type : types) {
      if (type == "null") out.push_back(literal("null"));
      if (type == "boolean") out.push_back(choice({literal("true"), literal("false")}));
      if (type == "number" || (type == "integer" && !has_number))
        out.push_back(number(schema, type == "integer", where));
      if (type == "string") out.push_back(text(schema, where));
      if (type == "array") out.push_back(list(schema, where, depth));
      if (type == "object") out.push_back(object(schema, where, depth));
    }
    return choice(std::move(out));
  }

  std::optional<size_t> count(const Json& schema, const char* key, const std::string& where) const {
    const auto found = schema.find(key);
    if (found == schema.end()) return std::nullopt;
    const double n = found->is_number() ? found->get<double>() : -1;
    if (!(n >= 0) || n != std::floor(n)) wrong(where, fmt::format("its {} is no count", key));
    if (n > double(kMostCounted)) unsupported(where, fmt::format("a {} beyond {}", key, kMostCounted));
    return size_t(n);
  }

  Expr number(const Json& schema, bool integer, const std::string& where) const {
    NumberBounds b;
    b.integer = integer;
    // Draft 4 has true beside the bound.
    const auto bound = [&](const char* key, const char* exclusive_key, std::string& out, bool& exclusive,
                           bool greater) {
      double have = 0;
      for (const char* k : {key, exclusive_key}) {
        const auto found = schema.find(k);
        if (found == schema.end() || found->is_boolean()) continue;
        if (!found->is_number()) wrong(where, fmt::format("its {} is no number", k));
        const double x = found->get<double>();
        const bool excludes = k == exclusive_key;
        if (!out.empty() && (greater ? x < have || (x == have && !excludes) : x > have || (x == have && !excludes)))
          continue;
        have = x;
        out = found->dump();
        exclusive = excludes;
        if (out.find_first_of("eE") != out.npos) out = fmt::format("{:.17f}", x);
      }
      const auto flag = schema.find(exclusive_key);
      if (flag != schema.end() && flag->is_boolean()) exclusive = exclusive || flag->get<bool>();
    };
    bound("minimum", "exclusiveMinimum", b.least, b.exclusive_least, true);
    bound("maximum", "exclusiveMaximum", b.most, b.exclusive_most, false);
    return json_number(b);
  }

  Expr text(const Json& schema, const std::string& where) {
    const auto least = count(schema, "minLength", where), most = count(schema, "maxLength", where);
    std::vector<Expr> demands;
    if (const auto pattern = schema.find("pattern"); pattern != schema.end()) {
      if (!pattern->is_string()) wrong(where, "its pattern is no text");
      try {
        demands.push_back(parse_regex(pattern->get_ref<const std::string&>(), {.searches = true, .spell = json_chars}));
      } catch (const Error& e) {
        fail(ErrorKind::kUnsupported, "the schema at {}: its pattern: {}", where, e.what());
      }
    }
    if (const auto format = schema.find("format"); format != schema.end()) {
      if (!format->is_string()) wrong(where, "its format is no text");
      static const std::vector<std::string> kOfNumbers = {"int32", "int64", "float", "double"};  // OpenAPI's
      Expr one = json_format(format->get<std::string>());
      if (!one && std::ranges::find(kOfNumbers, format->get<std::string>()) == kOfNumbers.end())
        unsupported(where, fmt::format("the format '{}'", format->get<std::string>().substr(0, 60)));
      if (one) demands.push_back(std::move(one));
    }
    const auto quoted = [](Expr inside) { return sequence({literal("\""), std::move(inside), literal("\"")}); };
    const uint32_t from = uint32_t(least.value_or(0)), to = most ? uint32_t(*most) : kNoLimit;
    if (to < from) return choice({});
    if (demands.empty()) return least || most ? quoted(repeat(json_char(), from, to)) : json_.text();
    if (least || most) demands.push_back(repeat(json_chars(CharSet::all()), from, to));
    if (demands.size() == 1) return quoted(demands[0]);
    auto dfa = std::make_shared<const Dfa>(demands[0]);
    for (size_t i = 1; i < demands.size(); ++i) dfa = Dfa::both(*dfa, Dfa(demands[i]));
    return quoted(of_dfa(dfa));
  }

  Expr comma() { return sequence({literal(","), json_.space()}); }

  Expr list(const Json& schema, const std::string& where, size_t depth) {
    const size_t least = count(schema, "minItems", where).value_or(0);
    const auto most = count(schema, "maxItems", where);
    // "items" as a list is what drafts before 2020 have for "prefixItems", with "additionalItems" behind it.
    const bool old = schema.contains("items") && schema["items"].is_array();
    const Json prefix = old ? schema["items"] : schema.contains("prefixItems") ? schema["prefixItems"] : Json::array();
    if (!prefix.is_array()) wrong(where, "its prefixItems are no list");
    if (prefix.size() > kMostNesting) unsupported(where, fmt::format("more than {} prefixItems", kMostNesting));
    const char* const rest_key = old ? "additionalItems" : "items";
    const bool closed = !prefix.empty() && !options_.as_specified;
    const Json rest = schema.contains(rest_key) ? schema[rest_key] : Json(!closed);
    const Expr item = rest == false ? nullptr : as_rule(rest, where + "/" + rest_key, depth);
    const size_t n = prefix.size(), end = std::min(most.value_or(SIZE_MAX), item ? SIZE_MAX : n);
    if (end < least) return choice({});
    // From behind: what may follow the first n items, the first n - 1, ...
    const auto rest_of = [&](size_t from) {
      if (!item || end <= from) return literal("");
      return repeat(sequence({comma(), item}), uint32_t(least > from ? least - from : 0),
                    end == SIZE_MAX ? kNoLimit : uint32_t(end - from));
    };
    const size_t n_first = std::min(n, end);
    Expr tail = rest_of(std::max<size_t>(n_first, 1));
    if (n_first == 0) {
      Expr all = end == 0 ? literal("") : sequence({item, std::move(tail), json_.space()});
      if (least == 0) all = optional(std::move(all));
      return sequence({literal("["), json_.space(), std::move(all), literal("]")});
    }
    for (size_t i = n_first; i > 0; --i) {
      Expr one = as_rule(prefix[i - 1], fmt::format("{}/{}/{}", where, old ? "items" : "prefixItems", i - 1), depth);
      tail = i > 1 ? sequence({comma(), std::move(one), std::move(tail)})
                   : sequence({std::move(one), std::move(tail), json_.space()});
      if (i > least) tail = optional(std::move(tail));
    }
    return sequence({literal("["), json_.space(), std::move(tail), literal("]")});
  }

  Expr object(const Json& schema, const std::string& where, size_t depth) {
    Json properties = schema.contains("properties") ? schema["properties"] : Json::object();
    if (!properties.is_object()) wrong(where, "its properties are no object");
    const bool closed = !properties.empty() && !options_.as_specified;
    const Json more = schema.contains("additionalProperties") ? schema["additionalProperties"] : Json(!closed);
    std::vector<std::string> required;
    if (const auto found = schema.find("required"); found != schema.end()) {
      if (!found->is_array()) wrong(where, "its required is no list");
      for (const Json& name : *found) {
        if (!name.is_string()) wrong(where, "its required has what is no text");
        required.push_back(name);
        if (!properties.contains(required.back()))
          properties[required.back()] = schema.contains("additionalProperties") ? more : Json(true);
      }
    }
    const size_t least = count(schema, "minProperties", where).value_or(0);
    const auto most = count(schema, "maxProperties", where);
    std::vector<Expr> parts;
    std::vector<bool> needed;
    const auto pair = [&](Expr key, Expr what) {
      return sequence({std::move(key), literal(":"), json_.space(), std::move(what)});
    };
    for (const auto& [name, one] : properties.items()) {
      const bool is_required = std::ranges::find(required, name) != required.end();
      if (one == false && !is_required) continue;
      parts.push_back(pair(literal(Json(name).dump()), as_rule(one, where + "/properties/" + name, depth)));
      needed.push_back(is_required);
    }
    const size_t n_required = size_t(std::ranges::count(needed, true));
    if (least > std::max<size_t>(n_required, parts.empty() && more != false ? 1 : 0))
      unsupported(where, "'minProperties' beyond the required ones");
    if (most && (!parts.empty() || *most == 0) && *most < parts.size() + (more != false))
      unsupported(where, "'maxProperties' below what the properties allow");
    if (more != false) {
      Expr one = pair(other_key(properties), as_rule(more, where + "/additionalProperties", depth));
      const uint32_t limit = most && parts.empty() ? uint32_t(*most) - 1 : kNoLimit;
      parts.push_back(sequence({one, repeat(sequence({comma(), one}), 0, limit)}));
      needed.push_back(least > n_required);
    }
    if (parts.empty()) return sequence({literal("{"), json_.space(), literal("}")});
    return sequence({literal("{"), json_.space(), fields(std::move(parts), std::move(needed), comma()), json_.space(),
                     literal("}")});
  }

  // A text that is none of the listed names.
  Expr other_key(const Json& properties) {
    if (properties.empty()) return json_.text();
    std::vector<Expr> names;
    for (const auto& [name, one] : properties.items()) names.push_back(literal(Json(name).dump()));
    const Dfa any(sequence({literal("\""), repeat(json_chars(CharSet::all()), 0), literal("\"")}));
    return of_dfa(Dfa::without(any, Dfa(choice(std::move(names)))));
  }

  // Equal schemas at several places are compiled once.
  Expr as_rule(const Json& schema, const std::string& where, size_t depth) {
    if (!schema.is_object()) return value(schema, where, depth + 1);
    const std::string key = schema.dump();
    if (const auto found = known_.find(key); found != known_.end()) return rule_ref(found->second);
    Expr body = value(schema, where, depth + 1);
    if (body->kind == Expression::Kind::kRule) return body;
    const uint32_t rule = rules_.add(where, std::move(body));
    known_.emplace(key, rule);
    return rule_ref(rule);
  }

  const Json& whole_;
  const SchemaOptions& options_;
  Rules rules_;
  JsonRules json_{rules_};
  std::map<std::string, uint32_t> references_, known_;
  size_t n_schemas_ = 0, n_merged_ = 0, n_states_ = 0, n_inside_ = 0;
};

}  // namespace

Rules schema_rules(const nlohmann::ordered_json& schema, const SchemaOptions& options) {
  return SchemaCompiler(schema, options).rules_of(schema, "#");
}

Rules json_object_rules() {
  Rules rules;
  JsonRules json(rules);
  const Expr object = json.object();
  rules.root = object->rule;
  return rules;
}

}  // namespace hunch::grammar
