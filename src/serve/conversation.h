// A conversation of another API, turned into OpenAI's messages, which chat templates take.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "serve/chat_request.h"

namespace hunch::serve {

// The text of a content: a string, or a list of parts of these types, each {"type", "text"}, one after the other with
// `between`. Throws RequestError{400} that names `param`; `where` is what the message calls the content.
std::string text_of_content(const Json& content, const std::vector<std::string_view>& types, const std::string& param,
                            const std::string& where, std::string_view between = "");

// A member of this name that is a string. Throws as above.
std::string need_text(const Json& object, const char* name, const std::string& param, const std::string& where);

// A call as messages have it. `arguments`: an object, or its text.
Json tool_call(const std::string& id, const std::string& name, Json arguments);

// Adds {"role", "content"}, or to the last message where that is the assistant's, calls after its text.
void add_call(Json& messages, Json call);

}  // namespace hunch::serve
