// Chat templates: a sandboxed interpreter for the part of Jinja2 that real templates use.
// The language itself lies in text/jinja/.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace hunch {

// Renders `source` (Jinja2, with trim_blocks and lstrip_blocks as Hugging Face sets them) with the
// given variables: a JSON object, usually {messages, add_generation_prompt, bos_token, eos_token,
// tools, ...}. `strftime_now(format)` and `raise_exception(message)` are available. Steps, recursion
// depth and output size are bounded. Throws Error{kFormat} naming line and construct for what cannot
// be parsed or rendered, and Error{kUsage} with the template's own message for raise_exception.
std::string render_template(std::string_view source, const nlohmann::ordered_json& variables);

struct TemplateOptions {
  // Whose renderings to reproduce, where they differ.
  enum class Flavor {
    kHuggingFace,  // exactly as transformers' apply_chat_template(tokenize=False)
    kLlamaCpp,     // white space before {{ at the start of a line is dropped; so is a leading BOS, which
                   // the tokenizer adds again, and a trailing EOS
  };

  bool add_generation_prompt = true;  // end with the opening of the assistant's answer
  std::string bos_token, eos_token;   // their texts; empty when the model has none
  // A template that has no place for a system message (it drops it or raises) gets its text at the
  // head of the first user message instead, followed by a line end. False: leave it to the template.
  bool merge_system_message = true;
  // Contents that the template makes nothing of in this form, a text or a list of parts of text, are given to it in the
  // other one; messages of calls alone with "" where it wants a text. False: as they are.
  bool adapt_content = true;
  Flavor flavor = Flavor::kHuggingFace;
  // The arguments of past calls, which the API has as JSON texts, are given to the template as they are; false: as the
  // objects that most templates want.
  bool arguments_as_text = false;
  // Not owned, may be null. `tools`: a list of {"type": "function", "function": {...}}, as in the
  // OpenAI API. `extra`: an object of further variables, e.g. {"documents": [...], "enable_thinking": false};
  // they override those above.
  const nlohmann::ordered_json* tools = nullptr;
  const nlohmann::ordered_json* extra = nullptr;
};

// The text that the model sees for a conversation. `messages` is a list of {"role", "content"} as in
// the OpenAI API: content is a string, null or absent beside tool_calls, or a list of parts like
// {"type": "text", "text": ...}; further keys (name, tool_calls, tool_call_id) are passed on. As in
// transformers, `tools` and `documents` are none unless given. Throws as render_template, and
// Error{kUsage} naming the message for a wrong shape, Error{kNotFound} when `source` is empty.
std::string apply_chat_template(const std::string& source, const nlohmann::ordered_json& messages,
                                const TemplateOptions& options = {});

}  // namespace hunch
