#include "serve/anthropic_request.h"

#include "serve/conversation.h"
#include "serve/request_error.h"

namespace hunch::serve {
namespace {

// A tool's result, a message of its own.
Json result_message(const Json& block, const std::string& at) {
  const std::string id = need_text(block, "tool_use_id", "messages", at);
  const auto content = block.find("content");
  std::string text;
  if (content != block.end() && !content->is_null())
    text = text_of_content(*content, {"text"}, "messages", at + ".content", "\n");
  return {{"role", "tool"}, {"tool_call_id", id}, {"content", text}};
}

// What stands beside text in a message: adds the messages that it makes. False where it is text.
bool add_block(Json& messages, const std::string& role, const Json& block, const std::string& type,
               const std::string& at) {
  if (type == "text") return false;
  if (role == "assistant" && (type == "thinking" || type == "redacted_thinking")) return true;  // templates drop it
  if (role == "assistant" && type == "tool_use") {
    const auto input = block.find("input");
    if (input == block.end() || !input->is_object()) refuse("messages", "{} has no 'input', expected an object", at);
    add_call(messages,
             tool_call(need_text(block, "id", "messages", at), need_text(block, "name", "messages", at), *input));
    return true;
  }
  if (role == "user" && type == "tool_result") {
    messages.push_back(result_message(block, at));
    return true;
  }
  refuse("messages", "{} is of type '{}', which this server does not read in a message of the {}", at, type, role);
}

void add_message(Json& messages, const Json& message, size_t i) {
  const std::string where = fmt::format("messages[{}]", i);
  if (!message.is_object()) refuse("messages", "{} is of type {}, expected an object", where, message.type_name());
  const std::string role = need_text(message, "role", "messages", where);
  if (role != "user" && role != "assistant" && role != "system")
    refuse("messages", "{} has the role '{}', expected user or assistant", where, role);
  const auto content = message.find("content");
  if (content == message.end()) refuse("messages", "{} has no content", where);
  if (!content->is_array()) {
    messages.push_back({{"role", role}, {"content", text_of_content(*content, {}, "messages", where + ".content")}});
    return;
  }
  const size_t n_before = messages.size();
  bool in_text = false;  // the last message is of this one's text
  for (size_t k = 0; k < content->size(); ++k) {
    const Json& block = (*content)[k];
    const std::string at = fmt::format("{}.content[{}]", where, k);
    if (!block.is_object()) refuse("messages", "{} is of type {}, expected an object", at, block.type_name());
    if (add_block(messages, role, block, need_text(block, "type", "messages", at), at)) {
      in_text = in_text && role == "assistant";
      continue;
    }
    const std::string text = need_text(block, "text", "messages", at);
    if (!in_text)
      messages.push_back({{"role", role}, {"content", text}});
    else
      messages.back()["content"] = messages.back()["content"].get<std::string>() + "\n" + text;
    in_text = true;
  }
  if (messages.size() == n_before && role == "user") refuse("messages", "{} has no content", where);
}

Json anthropic_messages(const Fields& f) {
  const Json* list = f.find("messages");
  if (!list || !list->is_array() || list->empty())
    refuse("messages", "'messages' is missing, empty or no list, expected a list of messages");
  Json messages = Json::array();
  if (const Json* system = f.find("system"))
    messages.push_back({{"role", "system"}, {"content", text_of_content(*system, {"text"}, "system", "system", "\n")}});
  for (size_t i = 0; i < list->size(); ++i) add_message(messages, (*list)[i], i);
  if (messages.empty()) refuse("messages", "'messages' say nothing, expected a text of the user's");
  if (messages.back()["role"] == "assistant")
    refuse("messages", "the last message is the assistant's: this server does not continue it, expected the user's");
  return messages;
}

Json anthropic_tools(const Fields& f) {
  Json out = Json::object();
  if (const Json* tools = f.find("tools")) {
    if (!tools->is_array()) refuse("tools", "'tools' is of type {}, expected a list", tools->type_name());
    out["tools"] = Json::array();
    for (size_t i = 0; i < tools->size(); ++i) {
      const Json& tool = (*tools)[i];
      const std::string at = fmt::format("tools[{}]", i);
      if (!tool.is_object()) refuse("tools", "{} is of type {}, expected an object", at, tool.type_name());
      const Fields t(tool, at + ".");
      if (const std::string type = t.text("type", "custom"); type != "custom")
        refuse("tools", "{} is of type '{}', a tool of Anthropic's servers: this one knows the client's own", at, type);
      Json function = {{"name", need_text(tool, "name", "tools", at)}};
      if (t.has("description")) function["description"] = t.text("description");
      function["parameters"] = t.object("input_schema");
      out["tools"].push_back({{"type", "function"}, {"function", std::move(function)}});
    }
  }
  if (f.has("tool_choice")) {
    const Fields choice(f.object("tool_choice"), "tool_choice.");
    const std::string type = choice.choice("type", "auto", {"auto", "any", "tool", "none"});
    if (type == "tool") {
      out["tool_choice"] = {{"type", "function"}, {"function", {{"name", choice.required_text("name")}}}};
    } else {
      out["tool_choice"] = type == "any" ? "required" : type;
    }
    if (choice.flag("disable_parallel_tool_use", false)) out["parallel_tool_calls"] = false;
  }
  if (f.has("output_config") || f.has("output_format")) {
    const bool is_old = f.has("output_format");
    const Fields config(f.object("output_config"), "output_config.");
    const Fields format(is_old ? f.object("output_format") : config.object("format"),
                        is_old ? "output_format." : "output_config.format.");
    if (format.choice("type", "", {"json_schema"}) == "json_schema")
      out["response_format"] = {
          {"type", "json_schema"},
          {"json_schema", {{"name", "answer"}, {"strict", true}, {"schema", format.object("schema")}}}};
  }
  return out;
}

}  // namespace

ChatRequest anthropic_request(std::string_view body, bool counts) {
  const Json json = parse_body(body);
  const Fields f(json);
  ChatRequest out;
  f.text("model");
  Settings& s = out.settings;
  if (!counts && !f.has("max_tokens")) refuse("max_tokens", "'max_tokens' is missing, expected a whole number");
  if (f.has("max_tokens")) s.n_tokens = size_t(f.integer("max_tokens", 0, 1, 1 << 30));
  s.sampler = sampler_of(f);
  s.stop = stops_of(f, "stop_sequences");
  s.stream = f.flag("stream", false);
  if (f.has("seed")) s.seed = uint64_t(f.integer("seed", 0, INT64_MIN, INT64_MAX));
  s.ignore_end = f.flag("ignore_eos", false);
  read_own_fields(f, s);
  s.user = Fields(f.object("metadata"), "metadata.").text("user_id");
  const Json messages = anthropic_messages(f), words = anthropic_tools(f);
  read_conversation(&messages, Fields(words), out);
  out.variables = f.object("chat_template_kwargs");
  if (f.has("thinking")) {
    const Fields thinking(f.object("thinking"), "thinking.");
    out.variables["enable_thinking"] = thinking.choice("type", "", {"enabled", "disabled", "adaptive"}) != "disabled";
    thinking.integer("budget_tokens", 0, 0, 1 << 30);
  }
  return out;
}

}  // namespace hunch::serve
