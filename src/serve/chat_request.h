// POST /v1/chat/completions: what is asked for.
#pragma once
#include <string_view>

#include "serve/settings.h"
#include "serve/tool_settings.h"

namespace hunch::serve {

struct ChatRequest {
  Settings settings;
  Json messages;   // a list of {"role", "content"}, as the template takes them
  Json variables;  // chat_template_kwargs, an object
  ToolSettings tools;
};

// Throws RequestError{400} naming the field that is wrong.
ChatRequest chat_request(std::string_view body);

// Checks messages: a list of objects with a role and a text, or parts that are texts. "developer" becomes "system",
// which templates know. Throws as Fields.
Json messages_of(const Json* list);
// "tools", "tool_choice", "parallel_tool_calls". Throws as tool_settings().
ToolSettings tools_of(const Fields& fields);
// What of a request is the conversation and what its answer may be: the messages, and the fields of `words`, which are
// OpenAI's ("tools", "tool_choice", "response_format", ...). Throws RequestError{400}, also where both tools and the
// form of the answer say what it may be.
void read_conversation(const Json* messages, const Fields& words, ChatRequest& out);

}  // namespace hunch::serve
