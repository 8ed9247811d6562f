#include "serve/conversation.h"

#include <algorithm>

#include "serve/request_error.h"

namespace hunch::serve {

std::string need_text(const Json& object, const char* name, const std::string& param, const std::string& where) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) refuse(param, "{} has no '{}', expected a string", where, name);
  return found->get<std::string>();
}

std::string text_of_content(const Json& content, const std::vector<std::string_view>& types, const std::string& param,
                            const std::string& where, std::string_view between) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array())
    refuse(param, "{} is of type {}, expected a string or a list of parts", where, content.type_name());
  std::string out;
  for (size_t i = 0; i < content.size(); ++i) {
    const Json& part = content[i];
    const std::string at = fmt::format("{}[{}]", where, i);
    if (!part.is_object()) refuse(param, "{} is of type {}, expected an object", at, part.type_name());
    const std::string type = need_text(part, "type", param, at);
    if (std::ranges::find(types, std::string_view(type)) == types.end())
      refuse(param, "{} is of type '{}', expected {}: this server reads texts only", at, type,
             fmt::join(types, " or "));
    if (i) out += between;
    out += need_text(part, "text", param, at);
  }
  return out;
}

Json tool_call(const std::string& id, const std::string& name, Json arguments) {
  return {{"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", std::move(arguments)}}}};
}

void add_call(Json& messages, Json call) {
  if (messages.empty() || messages.back()["role"] != "assistant")
    messages.push_back({{"role", "assistant"}, {"content", ""}});
  Json& message = messages.back();
  if (!message.contains("tool_calls")) message["tool_calls"] = Json::array();
  message["tool_calls"].push_back(std::move(call));
}

}  // namespace hunch::serve
