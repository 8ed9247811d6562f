#include "serve/chat_request.h"

#include "serve/request_error.h"

namespace hunch::serve {
namespace {

void check_content(const Json& message, size_t i) {
  const auto found = message.find("content");
  if (found == message.end() || found->is_null()) {
    if (message["role"] != "assistant") refuse("messages", "messages[{}] has no content", i);
    return;
  }
  if (found->is_string()) return;
  if (!found->is_array())
    refuse("messages", "messages[{}].content is of type {}, expected a string or a list of parts", i,
           found->type_name());
  for (const Json& part : *found) {
    if (!part.is_object() || !part.contains("type") || !part["type"].is_string())
      refuse("messages", "messages[{}].content has a part without a type", i);
    if (part["type"] != "text")
      refuse("messages", "messages[{}].content has a part that is no text: this server reads texts only", i);
    if (!part.contains("text") || !part["text"].is_string())
      refuse("messages", "messages[{}].content has a part without its text", i);
  }
}

}  // namespace

Json messages_of(const Json* value) {
  if (!value) refuse("messages", "'messages' is missing, expected a list of messages");
  if (!value->is_array() || value->empty())
    refuse("messages", "'messages' is {}, expected a list of messages",
           value->is_array() ? "an empty list" : value->type_name());
  Json messages = *value;
  for (size_t i = 0; i < messages.size(); ++i) {
    Json& message = messages[i];
    if (!message.is_object())
      refuse("messages", "messages[{}] is of type {}, expected an object", i, message.type_name());
    if (!message.contains("role") || !message["role"].is_string())
      refuse("messages", "messages[{}] has no role, expected a string", i);
    if (message["role"] == "developer") message["role"] = "system";
    check_content(message, i);
    if (message.contains("content") && message["content"].is_null()) message["content"] = "";
    message.erase("reasoning_content");  // templates of models that think drop it from past answers
  }
  check_tool_messages(messages);
  return messages;
}

ToolSettings tools_of(const Fields& fields) {
  const auto value = [&](const char* name) {
    const Json* found = fields.find(name);
    return found ? *found : Json();
  };
  return tool_settings(value("tools"), value("tool_choice"), fields.flag("parallel_tool_calls", true));
}

void read_conversation(const Json* messages, const Fields& words, ChatRequest& out) {
  refuse_unsupported(words);
  out.messages = messages_of(messages);
  out.tools = tools_of(words);
  AnswerForm& form = out.settings.form;
  form = answer_form_of(words);
  if (out.tools.tools && form.kind != AnswerForm::Kind::kAny)
    refuse(form.param, "'{}' and 'tools' both say what the answer may be: give 'tool_choice': \"none\" or no form",
           form.param);
}

ChatRequest chat_request(std::string_view body) {
  const Json json = parse_body(body);
  const Fields fields(json);
  ChatRequest out;
  fields.text("model");
  out.settings = settings_of(fields);
  if (out.settings.n_candidates > out.settings.n_choices && !fields.flag("use_beam_search", false))
    refuse("best_of", "'best_of' is of /v1/completions: a chat has 'n' answers");
  read_conversation(fields.find("messages"), fields, out);
  out.variables = fields.object("chat_template_kwargs");
  out.settings.log_probs = fields.flag("logprobs", false);
  out.settings.n_top_log_probs = size_t(fields.integer("top_logprobs", 0, 0, kMostTopLogProbs));
  if (out.settings.n_top_log_probs && !out.settings.log_probs)
    refuse("top_logprobs", "'top_logprobs' is meant for 'logprobs': true");
  read_beams(fields, out.settings);
  if (out.settings.beam_width && out.tools.is_forced())
    refuse("tool_choice", "a forced 'tool_choice' does not go with 'use_beam_search'");
  return out;
}

}  // namespace hunch::serve
