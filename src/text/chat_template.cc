#include "text/chat_template.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "jinja/render.h"
#include "text/content_forms.h"
#include "text/json_depth.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;

void check_content(const Json& message, size_t i) {
  const std::string& role = message["role"].get_ref<const std::string&>();
  const auto content = message.find("content");
  const bool calls_tools = message.contains("tool_calls");
  if (content == message.end() || content->is_null()) {
    if (!calls_tools) {
      fail(ErrorKind::kUsage, "messages[{}] (role '{}'): expected 'content' as text, found none", i, role);
    }
    return;
  }
  if (content->is_string() || (content->is_object() && role == "tool")) return;
  if (!content->is_array()) {
    fail(ErrorKind::kUsage, "messages[{}].content (role '{}'): expected a string or a list of parts, found {}", i, role,
         content->type_name());
  }
  for (size_t k = 0; k < content->size(); k++) {
    const Json& part = (*content)[k];
    if (!part.is_object() || !part.contains("type") || !part["type"].is_string()) {
      fail(ErrorKind::kUsage,
           "messages[{}].content[{}]: expected an object like {{\"type\": \"text\", \"text\": \"...\"}}", i, k);
    }
  }
}

void check_messages(const Json& messages) {
  if (!messages.is_array()) {
    fail(ErrorKind::kUsage, "messages: expected a list of {{\"role\", \"content\"}} objects, found {}",
         messages.type_name());
  }
  if (messages.empty()) fail(ErrorKind::kUsage, "messages: the list is empty; a chat needs at least one message");
  for (size_t i = 0; i < messages.size(); i++) {
    const Json& message = messages[i];
    if (!message.is_object()) {
      fail(ErrorKind::kUsage, "messages[{}]: expected an object with 'role' and 'content', found {}", i,
           message.type_name());
    }
    if (!message.contains("role") || !message["role"].is_string() ||
        message["role"].get_ref<const std::string&>().empty()) {
      fail(ErrorKind::kUsage, "messages[{}]: expected 'role' as a string such as \"user\" or \"assistant\"", i);
    }
    const auto calls = message.find("tool_calls");
    if (calls != message.end() && !calls->is_array() && !calls->is_null()) {
      fail(ErrorKind::kUsage, "messages[{}].tool_calls: expected a list, found {}", i, calls->type_name());
    }
    check_content(message, i);
  }
}

std::string render_messages(const std::string& source, const Json& messages, const TemplateOptions& options) {
  Json variables = {{"messages", messages},           {"tools", nullptr},
                    {"documents", nullptr},           {"add_generation_prompt", options.add_generation_prompt},
                    {"bos_token", options.bos_token}, {"eos_token", options.eos_token}};
  if (options.tools) variables["tools"] = *options.tools;
  if (options.extra) {
    for (const auto& [name, value] : options.extra->items()) variables[name] = value;
  }
  jinja::RenderOptions render_options;
  render_options.strip_before_output = options.flavor == TemplateOptions::Flavor::kLlamaCpp;
  return jinja::render(source, variables, render_options);
}

// Whether the system message reaches the output: the conversation is rendered with two others in its place, of the same
// form, and the results are compared.
bool supports_system_message(const std::string& source, const Json& messages, const TemplateOptions& options) {
  const auto rendered_with = [&](const char* marker) {
    Json probe = messages;
    Json& content = probe[0]["content"];
    if (content.is_string()) {
      content = marker;
    } else {
      for (Json& part : content)
        if (part["type"] == "text") part["text"] = marker;
    }
    return render_messages(source, probe, options);
  };
  try {
    return rendered_with("hunch-system-marker") != rendered_with("another-hunch-marker");
  } catch (const Error&) {
    return false;
  }
}

// The OpenAI API has the arguments of a call as JSON text, most templates want the object.
Json with_arguments(Json messages, bool as_text) {
  for (Json& message : messages) {
    const auto calls = message.find("tool_calls");
    if (calls == message.end() || !calls->is_array()) continue;
    for (Json& call : *calls) {
      if (!call.is_object()) continue;
      Json& function = call.contains("function") ? call["function"] : call;
      if (!function.is_object() || !function.contains("arguments")) continue;
      Json& arguments = function["arguments"];
      // A call without arguments, as some clients write it.
      if (!as_text && (arguments.is_null() || arguments == "")) arguments = Json::object();
      if (as_text && arguments.is_object()) arguments = arguments.dump(-1, ' ', false, Json::error_handler_t::replace);
      if (as_text || !arguments.is_string()) continue;
      const std::string& text = arguments.get_ref<const std::string&>();
      if (json_depth(text) > kMostJsonDepth) continue;  // it stays text
      Json parsed = Json::parse(text, nullptr, false);
      if (parsed.is_object()) arguments = std::move(parsed);
    }
  }
  return messages;
}

// The messages without their leading system message, its text at the head of the first user message.
Json merge_system_message(const Json& messages) {
  Json rest = Json::array();
  for (size_t i = 1; i < messages.size(); i++) rest.push_back(messages[i]);
  const Json& system = messages[0]["content"];
  for (Json& message : rest) {
    if (message["role"] != "user") continue;
    Json& content = message["content"];
    if (system.is_string() && content.is_string()) {
      content = system.get<std::string>() + "\n" + content.get<std::string>();
      return rest;
    }
    const auto as_parts = [](const Json& c) {
      return c.is_string() ? Json::array({{{"type", "text"}, {"text", c}}}) : c;
    };
    Json parts = as_parts(system);
    parts.push_back({{"type", "text"}, {"text", "\n"}});
    for (const Json& part : as_parts(content)) parts.push_back(part);
    content = parts;
    return rest;
  }
  rest.insert(rest.begin(), Json{{"role", "user"}, {"content", system}});
  return rest;
}

// As the template takes it: the form of contents, and a system message that it has no place for.
std::string render_in_form(const std::string& source, const Json& messages, const TemplateOptions& options) {
  const Json spoken = !options.adapt_content ? messages : with_shown_content(messages, source, [&](const Json& m) {
    return render_messages(source, m, options);
  });
  const bool merges = options.merge_system_message && spoken[0]["role"] == "system" && spoken[0].contains("content") &&
                      !spoken[0]["content"].is_null() && !supports_system_message(source, spoken, options);
  return render_messages(source, merges ? merge_system_message(spoken) : spoken, options);
}

// A message of calls alone has no content, which many templates add to a text all the same.
std::string render_conversation(const std::string& source, const Json& messages, const TemplateOptions& options) {
  try {
    return render_in_form(source, messages, options);
  } catch (const Error& e) {
    const Json filled = options.adapt_content && e.kind() == ErrorKind::kFormat ? with_empty_content(messages) : Json();
    if (filled.empty()) throw;
    try {
      return render_in_form(source, filled, options);
    } catch (const Error&) {
      throw e;  // of the messages as they are
    }
  }
}

}  // namespace

std::string render_template(std::string_view source, const nlohmann::ordered_json& variables) {
  return jinja::render(source, variables);
}

std::string apply_chat_template(const std::string& source, const nlohmann::ordered_json& messages,
                                const TemplateOptions& options) {
  if (source.empty()) {
    fail(ErrorKind::kNotFound,
         "this model has no chat template; give one of your own (template_file), or use it without chat");
  }
  check_messages(messages);
  if (options.tools && !options.tools->is_array() && !options.tools->is_null()) {
    fail(ErrorKind::kUsage, "tools: expected a list, found {}", options.tools->type_name());
  }
  if (options.extra && !options.extra->is_object()) {
    fail(ErrorKind::kUsage, "template variables: expected an object, found {}", options.extra->type_name());
  }
  std::string text = render_conversation(source, with_arguments(messages, options.arguments_as_text), options);
  if (options.flavor == TemplateOptions::Flavor::kLlamaCpp) {
    if (!options.bos_token.empty() && text.rfind(options.bos_token, 0) == 0) text.erase(0, options.bos_token.size());
    if (!options.eos_token.empty() && text.size() >= options.eos_token.size() &&
        text.compare(text.size() - options.eos_token.size(), std::string::npos, options.eos_token) == 0) {
      text.resize(text.size() - options.eos_token.size());
    }
  }
  return text;
}

}  // namespace hunch
