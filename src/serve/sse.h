// Server-sent events (HTML Living Standard, section 9.2), as OpenAI's and Anthropic's streams use them.
#pragma once
#include <string>

#include "serve/json.h"

namespace hunch::serve {

// "data: JSON", and the empty line that ends an event. JSON of one line has no line end in it.
std::string sse_event(const Json& data);
// With a line "event: NAME" before it.
std::string sse_event(const char* name, const Json& data);
// What ends OpenAI's streams.
std::string sse_done();

}  // namespace hunch::serve
