// The APIs that this server speaks, and how each says that something is wrong.
#pragma once
#include <cstdint>
#include <string_view>

#include "serve/http.h"
#include "serve/request_error.h"

namespace hunch::serve {

enum class Dialect : uint8_t {
  kOpenAi,     // and llama.cpp's own routes
  kAnthropic,  // /v1/messages
  kOllama,     // /api/...
};

// Whose route a path is, or would be.
Dialect dialect_of(std::string_view path);

// {"error": {"message", "type", "param", "code"}}; {"type": "error", "error": {"type", "message"}}; {"error":
// "message"}.
Json error_json(const RequestError& error, Dialect dialect);
// The same as a whole answer, with the headers that belong to its status.
HttpResponse error_response(const RequestError& error, Dialect dialect);

}  // namespace hunch::serve
