// POST /v1/responses of OpenAI's API: what is asked for.
#pragma once
#include <string>
#include <string_view>

#include "serve/chat_request.h"

namespace hunch::serve {

struct ResponsesRequest {
  ChatRequest chat;  // `messages` are those of this request alone, without its instructions
  std::string instructions, previous_id;
  bool store = true;
  Json echoed;  // what the response repeats of the request: temperature, tools, metadata, ...
};

// Throws RequestError{400} naming the field that is wrong.
ResponsesRequest responses_request(std::string_view body);

// Messages before and those of this request, as one conversation: what several say to the model before anybody talks
// becomes one system message, as most templates know only one.
Json with_instructions(const std::string& instructions, const Json& before, const Json& messages);

}  // namespace hunch::serve
