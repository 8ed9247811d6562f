#include "grammar/tool_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "grammar/dfa.h"
#include "grammar/json_schema.h"
#include "grammar/json_text.h"
#include "grammar/regex.h"
#include "grammar/token_trie.h"

namespace hunch::grammar {
namespace {

using Json = nlohmann::ordered_json;

// The rules of another grammar, renumbered to stand behind those that are here.
Expr moved(const Expr& e, uint32_t by) {
  Expression copy = *e;
  for (Expr& part : copy.parts) part = moved(part, by);
  if (copy.separator) copy.separator = moved(copy.separator, by);
  copy.rule += by;
  return std::make_shared<const Expression>(std::move(copy));
}

class CallRules {
 public:
  CallRules(const ToolSyntax& syntax, std::string_view source, const Tokenizer& tokenizer)
      : syntax_(syntax), source_(source), tokenizer_(tokenizer) {}

  Rules of(const std::vector<Tool>& tools, const ToolRulesOptions& options) {
    rules_.add("root");
    std::vector<Expr> calls;
    for (const Tool& tool : tools)
      if (options.name.empty() || tool.name == options.name) calls.push_back(call(tool));
    Expr body = around(choice(std::move(calls)), options.parallel);
    rules_.rules[0].body = std::move(body);
    return std::move(rules_);
  }

 private:
  Expr text(std::string_view t) const { return literal(literal_bytes(tokenizer_, t)); }
  bool has(std::string_view mark) const { return source_.find(mark) != source_.npos; }
  // Mistral's templates have a list of objects, or the names before the arguments.
  bool is_named() const {
    return syntax_.form == CallForm::kNamed || (syntax_.form == CallForm::kEither && has("[ARGS]"));
  }

  // A schema's value, its rules added to those that are here.
  Expr value(const Json& schema, const Tool& tool) {
    try {
      Rules other = schema_rules(schema);
      const uint32_t by = uint32_t(rules_.rules.size());
      for (Rule& rule : other.rules) rules_.add(tool.name + rule.name, moved(rule.body, by));
      return rule_ref(other.root + by);
    } catch (const Error& e) {
      fail(e.kind(), "the parameters of the tool '{}': {}", tool.name, e.what());
    }
  }
  Expr arguments(const Tool& tool) {
    Json schema = tool.parameters.is_object() ? tool.parameters : Json{{"type", "object"}};
    if (!schema.contains("type")) schema["type"] = "object";
    return value(schema, tool);
  }
  static Json properties(const Tool& tool) {
    return tool.parameters.is_object() && tool.parameters.contains("properties") ? tool.parameters["properties"]
                                                                                 : Json::object();
  }
  static bool is_required(const Tool& tool, const std::string& name) {
    const Json& p = tool.parameters;
    return p.contains("required") && p["required"].is_array() &&
           std::ranges::find(p["required"], Json(name)) != p["required"].end();
  }
  static bool is_text(const Json& schema) {
    return schema.is_object() && schema.contains("type") && schema["type"] == "string" && !schema.contains("enum") &&
           !schema.contains("const");
  }
  // A text by this schema in which the mark does not occur, as it is.
  Expr plain_text(const Json& schema, std::string_view mark, const Tool& tool) const {
    const Expr any = repeat(chars(CharSet::all()), 0);
    auto dfa = Dfa::without(Dfa(any), Dfa(sequence({any, literal(std::string(mark)), any})));
    const auto demand = [&](const Expr& e) { dfa = Dfa::both(*dfa, Dfa(e)); };
    const auto count = [&](const char* key, uint32_t otherwise) {
      const double n = schema.contains(key) && schema[key].is_number() ? schema[key].get<double>() : otherwise;
      return n >= 0 && n < 10'000 ? uint32_t(n) : otherwise;
    };
    if (schema.contains("minLength") || schema.contains("maxLength"))
      demand(repeat(chars(CharSet::all()), count("minLength", 0), count("maxLength", kNoLimit)));
    if (schema.contains("pattern") && schema["pattern"].is_string())
      demand(parse_regex(schema["pattern"].get_ref<const std::string&>(), {.searches = true}));
    if (schema.contains("format") && schema["format"].is_string())
      if (const Expr format = json_format(schema["format"].get<std::string>())) demand(format);
    if (!dfa->matches_any())
      fail(ErrorKind::kUsage, "the parameters of the tool '{}' have a text that cannot be", tool.name);
    return of_dfa(dfa);
  }
  Expr checked_text(const Json& schema, std::string_view mark, const Tool& tool) {
    value(schema, tool);  // refuses what is not held
    return plain_text(schema, mark, tool);
  }
  // The words of an enum of texts, without quotes around them; nullptr for others.
  static Expr words(const Json& schema) {
    if (!schema.is_object() || !schema.contains("enum") || !schema["enum"].is_array()) return nullptr;
    std::vector<Expr> out;
    for (const Json& one : schema["enum"]) {
      if (!one.is_string()) return nullptr;
      out.push_back(literal(one.get<std::string>()));
    }
    return choice(std::move(out));
  }

  Expr call(const Tool& tool) {
    const std::string name = Json(tool.name).dump();
    if (syntax_.form == CallForm::kTagged) return tagged(tool);
    if (syntax_.form == CallForm::kBraced) return braced(tool);
    if (is_named()) {
      if (syntax_.name == "gpt-oss")
        return sequence({text(tool.name + " <|constrain|>json<|message|>"), arguments(tool)});
      if (syntax_.name == "DeepSeek" && has("```json"))  // V3 and R1
        return sequence({text("function<｜tool▁sep｜>" + tool.name + "\n```json\n"), arguments(tool), text("\n```")});
      if (syntax_.name == "Kimi")
        return sequence({text("functions." + tool.name + ":0<|tool_call_argument_begin|>"), arguments(tool)});
      return sequence({text(tool.name + std::string(syntax_.name_close)), arguments(tool)});
    }
    if (syntax_.name == "Command")
      return sequence({literal("{\"tool_call_id\": \"0\", \"tool_name\": " + name + ", \"parameters\": "),
                       arguments(tool), literal("}")});
    const char* const key = syntax_.name == "Llama 3" ? "parameters" : "arguments";
    return sequence({literal("{\"name\": " + name + ", \"" + key + "\": "), arguments(tool), literal("}")});
  }

  Expr tagged(const Tool& tool) {
    const bool glm = syntax_.name == "GLM";
    std::vector<Expr> out = {glm ? literal(tool.name + "\n") : text("<function=" + tool.name + ">\n")};
    const Json all = properties(tool);
    for (const auto& [key, schema] : all.items()) {
      const Expr plain = words(schema);
      const Expr inside = plain             ? plain
                          : is_text(schema) ? checked_text(schema, syntax_.value_close, tool)
                                            : value(schema, tool);
      Expr one = glm ? sequence({text("<arg_key>" + key + "</arg_key>\n<arg_value>"), inside, text("</arg_value>\n")})
                     : sequence({text("<parameter=" + key + ">\n"), inside, text("\n</parameter>\n")});
      out.push_back(is_required(tool, key) ? one : optional(one));
    }
    if (!glm) out.push_back(text("</function>\n"));
    return sequence(std::move(out));
  }

  Expr braced(const Tool& tool) {
    std::vector<Expr> parts;
    std::vector<bool> required;
    const Json all = properties(tool);
    for (const auto& [key, schema] : all.items()) {
      const Expr plain = words(schema);
      const bool is_scalar = schema.is_object() && schema.contains("type") && schema["type"].is_string() &&
                             schema["type"] != "object" && schema["type"] != "array";
      if (!plain && !is_scalar)
        fail(ErrorKind::kUnsupported,
             "a forced call of the tool '{}': {} writes calls in its own notation, in which its parameter '{}' is not "
             "held: "
             "texts, numbers, booleans and enums are",
             tool.name, syntax_.name, key);
      const Expr quote = text(syntax_.quote);
      const Expr inside = plain             ? sequence({quote, plain, quote})
                          : is_text(schema) ? sequence({quote, checked_text(schema, syntax_.quote, tool), quote})
                                            : value(schema, tool);
      parts.push_back(sequence({literal(key + ":"), inside}));
      required.push_back(is_required(tool, key));
    }
    return sequence(
        {literal(tool.name + "{"), fields(std::move(parts), std::move(required), literal(",")), literal("}")});
  }

  // Marks around the calls.
  Expr around(Expr call, bool parallel) {
    const auto several = [&](Expr one, std::string_view between) {
      if (!parallel) return one;
      return sequence({one, repeat(sequence({text(between), one}), 0, 15)});
    };
    if (syntax_.name == "Llama 3") return call;
    if (syntax_.name == "gpt-oss") return sequence({text("<|channel|>commentary to=functions."), call});
    if (syntax_.name == "DeepSeek")
      return sequence({text("<｜tool▁calls▁begin｜>"),
                       several(sequence({text("<｜tool▁call▁begin｜>"), call, text("<｜tool▁call▁end｜>")}),
                               has("```json") ? "\n" : ""),
                       text("<｜tool▁calls▁end｜>")});
    if (syntax_.name == "Kimi")
      return sequence({text("<|tool_calls_section_begin|><|tool_call_begin|>"), call,
                       text("<|tool_call_end|><|tool_calls_section_end|>")});
    if (syntax_.name == "Hermes") return several(sequence({text("<tool_call>\n"), call, text("\n</tool_call>")}), "\n");
    if (syntax_.form == CallForm::kTagged) {
      const bool glm = syntax_.name == "GLM";
      return several(sequence({text(glm ? "<tool_call>" : "<tool_call>\n"), call, text("</tool_call>")}), "\n");
    }
    if (syntax_.form == CallForm::kBraced)
      return several(sequence({text(syntax_.begin[0]), call, text(syntax_.behind[0])}), "");
    const Expr mark = text(syntax_.begin.empty() ? syntax_.first[0] : syntax_.begin[0]);
    const Expr behind = syntax_.behind.empty() ? literal("") : text(syntax_.behind[0]);
    if (is_named()) return several(sequence({mark, call, behind}), "");
    // A list of objects.
    return sequence({mark, literal("["), several(call, ", "), literal("]"), behind});
  }

  const ToolSyntax& syntax_;
  const std::string_view source_;
  const Tokenizer& tokenizer_;
  Rules rules_;
};

}  // namespace

Rules tool_rules(const ToolSyntax& syntax, std::string_view source, const Tokenizer& tokenizer,
                 const std::vector<Tool>& tools, const ToolRulesOptions& options) {
  return CallRules(syntax, source, tokenizer).of(tools, options);
}

}  // namespace hunch::grammar
