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

// Checks "messages": objects with a role and a text, or parts that are texts. "developer" becomes "system", which
// templates know. Throws as Fields.
Json messages_of(const Fields& fields);
// "tools", "tool_choice", "parallel_tool_calls". Throws as tool_settings().
ToolSettings tools_of(const Fields& fields);
// Throws RequestError{400} where both tools and the form of the answer say what it may be.
void check_form_and_tools(const ChatRequest& request);

}  // namespace hunch::serve
