// POST /v1/messages of Anthropic's API, and POST /v1/messages/count_tokens: what is asked for.
#pragma once
#include <string_view>

#include "serve/chat_request.h"

namespace hunch::serve {

// `counts`: of count_tokens, which names no max_tokens. Throws RequestError{400} naming the field that is wrong.
ChatRequest anthropic_request(std::string_view body, bool counts);

}  // namespace hunch::serve
