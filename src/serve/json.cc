#include "serve/json.h"

#include "serve/request_error.h"
#include "text/json_depth.h"

namespace hunch::serve {

Json parse_value(std::string_view body) {
  if (json_depth(body) > kMaxJsonDepth)
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
