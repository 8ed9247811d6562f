#include "serve/request_error.h"

#include <new>

#include "base/error.h"

namespace hunch::serve {

const char* RequestError::type() const {
  if (status_ == 401) return "authentication_error";
  if (status_ == 429) return "rate_limit_error";
  return status_ < 500 ? "invalid_request_error" : "server_error";
}

Json RequestError::json() const {
  const auto or_null = [](const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); };
  return {{"error", {{"message", what()}, {"type", type()}, {"param", or_null(param_)}, {"code", or_null(code_)}}}};
}

RequestError as_request_error(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const RequestError& e) {
    return e;
  } catch (const Error& e) {
    switch (e.kind()) {
      case ErrorKind::kUsage:
      case ErrorKind::kUnsupported: return RequestError(400, e.what());
      case ErrorKind::kLimit: return RequestError(400, e.what(), {}, "context_length_exceeded");
      case ErrorKind::kMemory: return RequestError(503, "not enough memory for this request now");
      case ErrorKind::kInterrupted: return RequestError(503, "the request was ended by the server");
      default: return RequestError(500, "internal error");
    }
  } catch (const std::bad_alloc&) {
    return RequestError(503, "not enough memory for this request now");
  } catch (...) {
    return RequestError(500, "internal error");
  }
}

}  // namespace hunch::serve
