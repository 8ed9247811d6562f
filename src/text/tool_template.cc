#include "text/tool_template.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace hunch {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string line_of(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

// The text of a content that is a text, a list of parts, or nothing.
std::string text_of(const OrderedJson& message) {
  const auto content = message.find("content");
  if (content == message.end() || content->is_null()) return {};
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array()) return line_of(*content);
  std::string out;
  for (const OrderedJson& part : *content)
    if (part.is_object() && part.contains("text") && part["text"].is_string()) out += part["text"].get<std::string>();
  return out;
}

// What this conversation becomes; nothing where the template cannot render it.
std::string rendered(const ChatText& text, const OrderedJson& messages, const OrderedJson& tools,
                     bool arguments_as_text) {
  TemplateOptions options = text.options;
  options.tools = &tools;
  options.arguments_as_text = arguments_as_text;
  try {
    return apply_chat_template(text.source, messages, options);
  } catch (const Error&) {
    return {};
  }
}

OrderedJson function(const char* name) {
  return {{"type", "function"},
          {"function",
           {{"name", name},
            {"description", "-"},
            {"parameters",
             {{"type", "object"}, {"properties", OrderedJson::object()}, {"required", OrderedJson::array()}}}}}};
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

// A system message with this text at the head of the messages.
void add_to_system(OrderedJson& messages, const std::string& text) {
  if (!messages.empty() && messages[0].is_object() && messages[0].value("role", "") == "system") {
    const std::string before = text_of(messages[0]);
    messages[0]["content"] = before.empty() ? text : before + "\n\n" + text;
  } else {
    messages.insert(messages.begin(), OrderedJson{{"role", "system"}, {"content", text}});
  }
}

std::string told_tools(const OrderedJson& tools) {
  std::string out =
      "You can call functions. Each line between <tools> and </tools> is one, with a JSON schema of its arguments:\n"
      "<tools>\n";
  for (const OrderedJson& tool : tools) out += line_of(tool.contains("function") ? tool["function"] : tool) + "\n";
  return out +
         "</tools>\n"
         "To call one, write its name and arguments as JSON like this:\n"
         "<tool_call>\n{\"name\": \"NAME\", \"arguments\": {\"KEY\": \"VALUE\"}}\n</tool_call>\n"
         "You may call several, one after the other. What they give stands between <tool_response> and "
         "</tool_response>. Answer in words where no call is needed.";
}

// A call of an earlier answer, as such a model would have written it.
std::string told_call(const OrderedJson& call) {
  const OrderedJson& f = call.contains("function") && call["function"].is_object() ? call["function"] : call;
  std::string arguments = "{}";
  if (f.contains("arguments") && f["arguments"].is_string()) arguments = f["arguments"].get<std::string>();
  if (f.contains("arguments") && f["arguments"].is_object()) arguments = line_of(f["arguments"]);
  const OrderedJson name = f.contains("name") ? f["name"] : OrderedJson("");
  return "<tool_call>\n{\"name\": " + line_of(name) + ", \"arguments\": " + arguments + "}\n</tool_call>";
}

}  // namespace

ToolTemplate tool_template(const ChatText& text) {
  ToolTemplate out;
  const ToolSyntax* syntax = find_tool_syntax(text.source);
  const OrderedJson tools = OrderedJson::array({function("hunch_probe")});
  const OrderedJson question = {{"role", "user"}, {"content", "?"}};
  out.takes_tools = syntax && has(rendered(text, OrderedJson::array({question}), tools, false), "hunch_probe");
  out.syntax = out.takes_tools ? syntax : &tool_syntaxes().back();
  if (!out.takes_tools) return out;
  const OrderedJson call = {{"id", "hunch1234"},
                            {"type", "function"},
                            {"function", {{"name", "hunch_probe"}, {"arguments", R"({"hunch_key": "v"})"}}}};
  const OrderedJson messages = OrderedJson::array(
      {question,
       {{"role", "assistant"}, {"content", ""}, {"tool_calls", OrderedJson::array({call})}},
       {{"role", "tool"}, {"name", "hunch_probe"}, {"tool_call_id", "hunch1234"}, {"content", "1"}}});
  // As an object where that gives JSON or marks; Python's way of showing one is no form of any model.
  const std::string of_object = rendered(text, messages, tools, false), of_text = rendered(text, messages, tools, true);
  const bool object_is_wrong = !has(of_object, "hunch_key") || has(of_object, "'hunch_key'");
  out.arguments_as_text = object_is_wrong && has(of_text, R"({"hunch_key": "v"})");
  return out;
}

std::string render_with_tools(const ChatText& text, const ToolTemplate& how, const OrderedJson& messages,
                              const OrderedJson& tools, const OrderedJson& variables, bool add_generation_prompt) {
  TemplateOptions options = text.options;
  options.extra = &variables;
  options.add_generation_prompt = add_generation_prompt;
  if (!how.takes_tools) return apply_chat_template(text.source, messages_told_of_tools(messages, tools), options);
  if (!tools.empty()) options.tools = &tools;
  options.arguments_as_text = how.arguments_as_text;
  if (how.syntax->name != "Mistral") return apply_chat_template(text.source, messages, options);
  OrderedJson with_short_ids = messages;
  shorten_call_ids(with_short_ids);
  return apply_chat_template(text.source, with_short_ids, options);
}

OrderedJson messages_told_of_tools(const OrderedJson& messages, const OrderedJson& tools) {
  OrderedJson out = OrderedJson::array();
  bool after_result = false;
  for (const OrderedJson& message : messages) {
    const bool is_result = message.is_object() && message.value("role", "") == "tool";
    const auto calls = message.is_object() ? message.find("tool_calls") : message.end();
    if (is_result) {
      const std::string told = "<tool_response>\n" + text_of(message) + "\n</tool_response>";
      if (after_result) {  // templates want users and assistants in turn
        out.back()["content"] = out.back()["content"].get<std::string>() + "\n" + told;
      } else {
        out.push_back({{"role", "user"}, {"content", told}});
      }
    } else if (calls != message.end() && calls->is_array() && !calls->empty()) {
      std::string told = text_of(message);
      for (const OrderedJson& call : *calls) told += (told.empty() ? "" : "\n") + told_call(call);
      out.push_back({{"role", message["role"]}, {"content", told}});
    } else {
      out.push_back(message);
    }
    after_result = is_result;
  }
  if (!tools.empty()) add_to_system(out, told_tools(tools));
  return out;
}

void shorten_call_ids(OrderedJson& messages) {
  const auto shorten = [](OrderedJson& id) {
    if (!id.is_string()) return;
    const std::string& text = id.get_ref<const std::string&>();
    const auto is_plain = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    };
    if (text.size() == 9 && std::ranges::all_of(text, is_plain)) return;
    uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
    for (const char c : text) hash = (hash ^ uint8_t(c)) * 0x100000001b3;
    std::string out;
    for (int i = 0; i < 9; ++i, hash /= 36) out += "0123456789abcdefghijklmnopqrstuvwxyz"[hash % 36];
    id = out;
  };
  for (OrderedJson& message : messages) {
    if (!message.is_object()) continue;
    if (message.contains("tool_call_id")) shorten(message["tool_call_id"]);
    if (!message.contains("tool_calls") || !message["tool_calls"].is_array()) continue;
    for (OrderedJson& call : message["tool_calls"])
      if (call.is_object() && call.contains("id")) shorten(call["id"]);
  }
}

}  // namespace hunch
