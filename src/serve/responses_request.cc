#include "serve/responses_request.h"

#include <algorithm>

#include "serve/conversation.h"
#include "serve/request_error.h"

namespace hunch::serve {
namespace {

void add_item(Json& messages, const Json& item, const std::string& at) {
  if (!item.is_object()) refuse("input", "{} is of type {}, expected an object", at, item.type_name());
  const std::string type = item.contains("type") ? need_text(item, "type", "input", at) : "message";
  if (type == "message") {
    const std::string role = need_text(item, "role", "input", at);
    if (role != "user" && role != "assistant" && role != "system" && role != "developer")
      refuse("input", "{} has the role '{}', expected user, assistant, system or developer", at, role);
    if (!item.contains("content")) refuse("input", "{} has no content", at);
    messages.push_back({{"role", role},
                        {"content", text_of_content(item["content"], {"input_text", "output_text", "text"}, "input",
                                                    at + ".content", "\n")}});
  } else if (type == "function_call") {
    add_call(messages, tool_call(need_text(item, "call_id", "input", at), need_text(item, "name", "input", at),
                                 need_text(item, "arguments", "input", at)));
  } else if (type == "function_call_output") {
    const std::string id = need_text(item, "call_id", "input", at);
    if (!item.contains("output")) refuse("input", "{} has no output", at);
    messages.push_back(
        {{"role", "tool"},
         {"tool_call_id", id},
         {"content", text_of_content(item["output"], {"input_text", "text"}, "input", at + ".output", "\n")}});
  } else if (type != "reasoning") {  // which templates drop
    refuse("input", "{} is of type '{}', expected message, function_call, function_call_output or reasoning", at, type);
  }
}

Json responses_messages(const Fields& f) {
  const Json* input = f.find("input");
  if (!input) refuse("input", "'input' is missing, expected a string or a list of items");
  if (input->is_string()) return Json::array({{{"role", "user"}, {"content", *input}}});
  if (!input->is_array() || input->empty())
    refuse("input", "'input' is {}, expected a string or a list of items",
           input->is_array() ? "an empty list" : input->type_name());
  Json messages = Json::array();
  for (size_t i = 0; i < input->size(); ++i) add_item(messages, (*input)[i], fmt::format("input[{}]", i));
  if (messages.empty()) refuse("input", "'input' has no message");
  return messages;
}

Json responses_tools(const Fields& f) {
  Json out = Json::object();
  if (const Json* tools = f.find("tools")) {
    if (!tools->is_array()) refuse("tools", "'tools' is of type {}, expected a list", tools->type_name());
    out["tools"] = Json::array();
    for (size_t i = 0; i < tools->size(); ++i) {
      const Json& tool = (*tools)[i];
      const std::string at = fmt::format("tools[{}]", i);
      if (!tool.is_object()) refuse("tools", "{} is of type {}, expected an object", at, tool.type_name());
      if (const std::string type = need_text(tool, "type", "tools", at); type != "function")
        refuse("tools", "{} is of type '{}', expected function: this server runs no tools of its own", at, type);
      Json function = {{"name", need_text(tool, "name", "tools", at)}};
      for (const char* name : {"description", "parameters", "strict"})
        if (const auto found = tool.find(name); found != tool.end() && !found->is_null()) function[name] = *found;
      out["tools"].push_back({{"type", "function"}, {"function", std::move(function)}});
    }
  }
  if (const Json* choice = f.find("tool_choice")) {
    out["tool_choice"] = *choice;
    if (choice->is_object() && choice->value("type", Json()) == "function")
      out["tool_choice"] = {{"type", "function"},
                            {"function", {{"name", need_text(*choice, "name", "tool_choice", "'tool_choice'")}}}};
  }
  if (f.has("parallel_tool_calls")) out["parallel_tool_calls"] = f.flag("parallel_tool_calls", true);
  if (const Json* format = Fields(f.object("text"), "text.").find("format")) {
    out["response_format"] = *format;
    if (format->is_object() &&
        format->value("type", Json()) == "json_schema") {  // its fields lie one level higher here
      Json schema = *format;
      schema.erase("type");
      out["response_format"] = {{"type", "json_schema"}, {"json_schema", std::move(schema)}};
    }
  }
  return out;
}

void refuse_what_is_not_there(const Fields& f) {
  if (f.flag("background", false)) refuse("background", "'background' is not supported by this server");
  for (const char* name : {"conversation", "prompt", "moderation"})
    if (f.has(name)) refuse(name, "'{}' is not supported by this server", name);
  if (f.integer("top_logprobs", 0, 0, kMostTopLogProbs) > 0)
    refuse("top_logprobs", "'top_logprobs' is not supported by this route: /v1/chat/completions has them");
  if (f.choice("truncation", "disabled", {"disabled", "auto"}) == "auto")
    refuse("truncation", "'truncation' auto is not supported by this server, expected disabled");
}

// null stands for what was not said.
Json echo_of(const Fields& f, const ResponsesRequest& r) {
  const auto or_else = [&](const char* name, Json otherwise) {
    const Json* value = f.find(name);
    return value ? *value : otherwise;
  };
  Json text = f.object("text");
  if (!text.contains("format")) text["format"] = {{"type", "text"}};
  return {{"instructions", or_else("instructions", nullptr)},
          {"max_output_tokens", or_else("max_output_tokens", nullptr)},
          {"metadata", f.object("metadata")},
          {"parallel_tool_calls", f.flag("parallel_tool_calls", true)},
          {"previous_response_id", or_else("previous_response_id", nullptr)},
          {"reasoning", or_else("reasoning", {{"effort", nullptr}, {"summary", nullptr}})},
          {"store", r.store},
          {"temperature", f.number("temperature", 1, 0, 100)},
          {"text", std::move(text)},
          {"tool_choice", or_else("tool_choice", "auto")},
          {"tools", or_else("tools", Json::array())},
          {"top_p", f.number("top_p", 1, 0, 1)},
          {"truncation", "disabled"}};
}

}  // namespace

ResponsesRequest responses_request(std::string_view body) {
  const Json json = parse_body(body);
  const Fields f(json);
  f.text("model");
  ResponsesRequest out;
  refuse_what_is_not_there(f);
  Settings& s = out.chat.settings;
  if (f.has("max_output_tokens")) s.n_tokens = size_t(f.integer("max_output_tokens", 0, 1, 1 << 30));
  s.sampler = sampler_of(f);
  s.stop = stops_of(f, "stop");
  if (f.has("seed")) s.seed = uint64_t(f.integer("seed", 0, INT64_MIN, INT64_MAX));
  s.ignore_end = f.flag("ignore_eos", false);
  s.stream = f.flag("stream", false);
  read_own_fields(f, s);
  s.user = f.text(f.has("safety_identifier") ? "safety_identifier" : "user");
  out.instructions = f.text("instructions");
  out.previous_id = f.text("previous_response_id");
  out.store = f.flag("store", true);
  out.chat.variables = f.object("chat_template_kwargs");
  const Fields reasoning(f.object("reasoning"), "reasoning.");
  if (const std::string effort = reasoning.text("effort"); !effort.empty()) {
    out.chat.variables["enable_thinking"] = effort != "none";
    if (effort != "none") out.chat.variables["reasoning_effort"] = effort;
  }
  const Json messages = responses_messages(f), words = responses_tools(f);
  read_conversation(&messages, Fields(words), out.chat);
  out.echoed = echo_of(f, out);
  return out;
}

Json with_instructions(const std::string& instructions, const Json& before, const Json& messages) {
  std::string system = instructions;
  Json out = Json::array();
  for (const Json* part : {&before, &messages}) {
    for (const Json& message : *part) {
      if (!out.empty() || message["role"] != "system") {
        out.push_back(message);
        continue;
      }
      const std::string text = message["content"].get<std::string>();
      if (!system.empty() && !text.empty()) system += "\n\n";
      system += text;
    }
  }
  if (!system.empty()) out.insert(out.begin(), Json{{"role", "system"}, {"content", system}});
  return out;
}

}  // namespace hunch::serve
