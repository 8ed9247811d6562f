#include "serve/dialect.h"

namespace hunch::serve {
namespace {

const char* anthropic_type(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status < 500 ? "invalid_request_error" : "api_error";
  }
}

}  // namespace

Dialect dialect_of(std::string_view path) {
  if (path == "/v1/messages" || path.starts_with("/v1/messages/")) return Dialect::kAnthropic;
  return path.starts_with("/api/") ? Dialect::kOllama : Dialect::kOpenAi;
}

Json error_json(const RequestError& error, Dialect dialect) {
  switch (dialect) {
    case Dialect::kAnthropic:
      return {{"type", "error"}, {"error", {{"type", anthropic_type(error.status())}, {"message", error.what()}}}};
    case Dialect::kOllama: return {{"error", error.what()}};
    default: return error.json();
  }
}

HttpResponse error_response(const RequestError& error, Dialect dialect) {
  HttpResponse response{error.status()};
  response.body = dump(error_json(error, dialect));
  if (error.status() == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (error.status() == 429) response.headers.emplace_back("Retry-After", "1");
  if (error.status() == 503) response.headers.emplace_back("Retry-After", "10");
  return response;
}

}  // namespace hunch::serve
