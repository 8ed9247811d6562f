#include "serve/json.h"

#include "serve/request_error.h"

namespace hunch::serve {
namespace {

size_t depth_of(std::string_view body) {
  size_t depth = 0, deepest = 0;
  bool in_text = false;
  for (size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_text) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_text = false;
      }
    } else if (c == '"') {
      in_text = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth) {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

Json parse_value(std::string_view body) {
  if (depth_of(body) > kMaxJsonDepth)
    throw RequestError(400, fmt::format("the body nests deeper than {} levels", kMaxJsonDepth));
  Json json;
  try {
    json = Json::parse(body);
  } catch (const nlohmann::json::parse_error& e) {
    throw RequestError(400, fmt::format("the body is not valid JSON in UTF-8 (at byte {} of {})", e.byte, body.size()));
  } catch (const nlohmann::json::exception&) {  // a number out of range
    throw RequestError(400, "the body is not valid JSON: a number in it is out of range");
  }
  return json;
}

Json parse_body(std::string_view body) {
  Json json = parse_value(body);
  if (!json.is_object())
    throw RequestError(400, fmt::format("the body is a JSON {}, expected an object", json.type_name()));
  return json;
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace hunch::serve
