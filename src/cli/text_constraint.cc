#include "cli/text_constraint.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "engine/grammar_constraint.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

namespace hunch::cli {
namespace {

grammar::Rules schema_rules_of(const std::string& flag) {
  const size_t first = flag.find_first_not_of(" \n\t");
  const bool is_json = first != flag.npos && (flag[first] == '{' || flag == "true");
  const std::string text = is_json ? flag : read_text(flag);
  const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  if (json.is_discarded())
    fail(ErrorKind::kUsage, "--json-schema: {} is not valid JSON", is_json ? "the schema" : flag);
  return grammar::schema_rules(json);
}

}  // namespace

std::function<std::unique_ptr<Constraint>()> text_constraint(const RunFlags& flags, const Engine& engine) {
  const int n = flags.json_schema.has_value() + flags.grammar_file.has_value() + flags.regex.has_value();
  if (n == 0) return {};
  if (n > 1) fail(ErrorKind::kUsage, "give one of --json-schema, --grammar-file and --regex");
  grammar::Rules rules;
  if (flags.json_schema) {
    rules = schema_rules_of(*flags.json_schema);
  } else if (flags.grammar_file) {
    rules = grammar::parse_gbnf(read_text(*flags.grammar_file));
  } else {
    rules.add("root", grammar::parse_regex(*flags.regex));
  }
  const Tokenizer& tokenizer = engine.need_tokenizer();
  const auto compiled =
      std::make_shared<const grammar::TokenGrammar>(rules, std::make_shared<grammar::TokenTrie>(tokenizer));
  return [compiled, &tokenizer] { return std::make_unique<GrammarConstraint>(compiled, tokenizer); };
}

}  // namespace hunch::cli
