// JSON bodies of requests, from bytes that anybody may have sent.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace hunch::serve {

using Json = nlohmann::ordered_json;  // as chat templates want it

// More would make copies of a value overflow the stack; no API needs it.
constexpr size_t kMaxJsonDepth = 100;

// Any value. Throws RequestError{400} for what is no JSON, no UTF-8, or deeper than kMaxJsonDepth.
Json parse_value(std::string_view body);
// An object. Throws RequestError{400} for what is no JSON, no UTF-8, deeper than kMaxJsonDepth, or no object.
Json parse_body(std::string_view body);
// One line. Texts are valid UTF-8, or become so.
std::string dump(const Json& json);

}  // namespace hunch::serve
