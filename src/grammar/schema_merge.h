// Schemas that must hold together, made one.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hunch::grammar {

using SchemaJson = nlohmann::ordered_json;

// What both say. Throws Error{kUnsupported} where two keywords cannot be said in one.
SchemaJson merged_schemas(const SchemaJson& a, const SchemaJson& b, const std::string& where);

// Whether no value is valid by two of these: by their types, their constants, or those of a property that all require.
bool are_disjoint(const std::vector<SchemaJson>& schemas);

bool is_annotation(const std::string& keyword);

}  // namespace hunch::grammar
