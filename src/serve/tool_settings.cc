#include "serve/tool_settings.h"

#include <algorithm>

#include "serve/request_error.h"

namespace hunch::serve {
namespace {

constexpr size_t kMostNameBytes = 128;

// Marks of calls end where these stand.
bool is_name(const std::string& name) {
  constexpr std::string_view kOthers = "_-./";
  return !name.empty() && name.size() <= kMostNameBytes && std::ranges::all_of(name, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kOthers.find(c) != kOthers.npos;
  });
}

// One tool as templates take it.
Json tool_of(const Json& entry, size_t i) {
  if (!entry.is_object()) refuse("tools", "tools[{}] is of type {}, expected an object", i, entry.type_name());
  const Json type = entry.contains("type") ? entry["type"] : Json();
  if (type != "function")
    refuse("tools", "tools[{}].type is {}, expected \"function\": this server has no tools of its own", i,
           dump(type).substr(0, 60));
  if (!entry.contains("function") || !entry["function"].is_object())
    refuse("tools", "tools[{}].function is missing, expected an object", i);
  Json tool = entry;
  Json& f = tool["function"];
  if (!f.contains("name") || !f["name"].is_string() || !is_name(f["name"].get<std::string>()))
    refuse("tools",
           "tools[{}].function.name is missing or no name: expected 1 to {} letters, digits, '_', '-', '.', '/'", i,
           kMostNameBytes);
  if (!f.contains("description") || f["description"].is_null()) f["description"] = "";
  if (!f["description"].is_string()) refuse("tools", "tools[{}].function.description is no text", i);
  if (!f.contains("parameters") || f["parameters"].is_null())
    f["parameters"] = {{"type", "object"}, {"properties", Json::object()}};
  if (!f["parameters"].is_object()) refuse("tools", "tools[{}].function.parameters is no object", i);
  if (f.contains("strict") && !f["strict"].is_boolean() && !f["strict"].is_null())
    refuse("tools", "tools[{}].function.strict is neither true nor false", i);
  return tool;
}

void choose(ToolSettings& s, const Json& choice) {
  using Choice = ToolSettings::Choice;
  if (choice.is_null() || choice == "auto") {
    s.choice = Choice::kAuto;
  } else if (choice == "none") {
    s.choice = Choice::kNone;
  } else if (choice == "required") {
    s.choice = Choice::kRequired;
  } else if (choice.is_object() && choice.contains("function") && choice["function"].is_object() &&
             choice["function"].contains("name") && choice["function"]["name"].is_string()) {
    s.choice = Choice::kNamed;
    s.name = choice["function"]["name"];
  } else {
    refuse("tool_choice",
           "'tool_choice' is {}, expected \"none\", \"auto\", \"required\" or {{\"type\": \"function\", \"function\": "
           "{{\"name\": ...}}}}",
           dump(choice).substr(0, 100));
  }
}

}  // namespace

ToolSettings tool_settings(const Json& tools, const Json& choice, bool parallel) {
  ToolSettings s;
  s.parallel = parallel;
  if (!tools.is_null() && !tools.is_array())
    refuse("tools", "'tools' is of type {}, expected a list", tools.type_name());
  if (tools.is_null() || tools.empty()) {
    if (!choice.is_null()) choose(s, choice);
    if (s.is_forced()) refuse("tool_choice", "'tool_choice' wants a call, and there are no 'tools'");
    s.choice = ToolSettings::Choice::kNone;
    return s;
  }
  if (tools.size() > kMostTools)
    refuse("tools", "'tools' has {} entries, expected at most {}", tools.size(), kMostTools);
  choose(s, choice);
  std::vector<Tool> known;
  for (size_t i = 0; i < tools.size(); ++i) {
    s.list.push_back(tool_of(tools[i], i));
    const Json& f = s.list.back()["function"];
    Tool tool{f["name"], f["parameters"], f.contains("strict") && f["strict"] == true};
    if (std::ranges::find(known, tool.name, &Tool::name) != known.end())
      refuse("tools", "'tools' has two of the name '{}'", tool.name);
    known.push_back(std::move(tool));
  }
  if (s.choice == ToolSettings::Choice::kNamed && std::ranges::find(known, s.name, &Tool::name) == known.end())
    refuse("tool_choice", "'tool_choice' names a function that is not among 'tools'");
  if (s.choice == ToolSettings::Choice::kNone) {
    s.list = Json::array();
  } else {
    s.tools = std::make_shared<const std::vector<Tool>>(std::move(known));
  }
  return s;
}

void check_tool_messages(const Json& messages) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const Json& message = messages[i];
    const auto id = message.find("tool_call_id");
    if (id != message.end() && !id->is_string() && !id->is_null())
      refuse("messages", "messages[{}].tool_call_id is of type {}, expected a string", i, id->type_name());
    const auto calls = message.find("tool_calls");
    if (calls == message.end() || calls->is_null()) continue;
    if (!calls->is_array())
      refuse("messages", "messages[{}].tool_calls is of type {}, expected a list", i, calls->type_name());
    for (size_t k = 0; k < calls->size(); ++k) {
      const Json& call = (*calls)[k];
      const bool is_call = call.is_object() && call.contains("function") && call["function"].is_object() &&
                           call["function"].contains("name") && call["function"]["name"].is_string();
      if (!is_call) refuse("messages", "messages[{}].tool_calls[{}] has no function with a name", i, k);
      const Json& f = call["function"];
      if (f.contains("arguments") && !f["arguments"].is_string() && !f["arguments"].is_object())
        refuse("messages", "messages[{}].tool_calls[{}].function.arguments is of type {}, expected a JSON text", i, k,
               f["arguments"].type_name());
    }
  }
}

}  // namespace hunch::serve
