// JSON schemas as grammars.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "grammar/expression.h"

namespace hunch::grammar {

struct SchemaOptions {
  // As the specification has it: objects may have further properties, lists further items, unless the schema says
  // otherwise, and keywords of one type say nothing of the others. False: an object has the properties that are listed
  // and no others unless additionalProperties allows them, and a schema without a type is of that which its keywords
  // are about: what people mean when they ask for an answer.
  bool as_specified = false;
};

// Texts of JSON, compact or pretty, that are valid by the schema; properties in the order of the schema, further ones
// behind them. It matches nothing else, and all that a program would write of it but for numbers of more than 17
// digits. docs/structured-outputs.md lists the keywords. Annotations are ignored. Throws Error{kUnsupported} naming the
// keyword and its place for what it does not hold, and Error{kUsage} for what is no schema.
Rules schema_rules(const nlohmann::ordered_json& schema, const SchemaOptions& options = {});
// Any object.
Rules json_object_rules();

}  // namespace hunch::grammar
