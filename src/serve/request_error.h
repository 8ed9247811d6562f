// What is wrong with a request, as it is answered: the status and the fields of OpenAI's error object.
#pragma once
#include <fmt/format.h>

#include <exception>
#include <stdexcept>
#include <string>

#include "serve/json.h"

namespace hunch::serve {

class RequestError : public std::runtime_error {
 public:
  // `param`: the field that is meant; empty: none. `code`: OpenAI's word for it, where it has one.
  RequestError(int status, const std::string& message, std::string param = {}, std::string code = {})
      : std::runtime_error(message), status_(status), param_(std::move(param)), code_(std::move(code)) {}

  int status() const { return status_; }
  const std::string& param() const { return param_; }
  // "invalid_request_error", "authentication_error", "rate_limit_error", "server_error".
  const char* type() const;
  // {"error": {"message", "type", "param", "code"}}.
  Json json() const;

 private:
  int status_;
  std::string param_, code_;
};

// Throws RequestError{400} that names the field.
template <class... Args>
[[noreturn]] void refuse(std::string param, fmt::format_string<Args...> format, Args&&... args) {
  throw RequestError(400, fmt::format(format, std::forward<Args>(args)...), std::move(param));
}

// Of a server that takes nothing more.
inline RequestError shutting_down() {
  return RequestError(503, "the server is shutting down", {}, "server_shutting_down");
}

// Whatever was thrown, as it may be shown to a client: what the engine says of a request is passed on, anything else
// could name files of this machine and is "internal error".
RequestError as_request_error(std::exception_ptr error);

}  // namespace hunch::serve
