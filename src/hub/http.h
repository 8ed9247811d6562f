// HTTP through libcurl: redirects of GET followed by hand, so that a secret is sent to its own server only,
// and bodies handed on as they arrive. Knows nothing of the hub.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace hunch {

// No whole answer came: the host is unknown, refuses, or the connection broke. Always kNetwork.
class HttpFailure : public Error {
 public:
  HttpFailure(const std::string& message, bool connected)
      : Error(ErrorKind::kNetwork, message), connected_(connected) {}
  // False when no connection came about: offline, a wrong name, a server that is down.
  bool connected() const { return connected_; }

 private:
  bool connected_;
};

// Status and headers of the last answer after all redirects.
struct HttpHead {
  int status = 0;
  std::string url;                             // where the answer came from
  std::map<std::string, std::string> headers;  // names in lower case

  // The header's value, or empty.
  std::string header(const std::string& name) const;
  // Seconds that the server asks to wait (Retry-After, as a number or a date); nullopt without one.
  std::optional<double> retry_after_s() const;
};

struct HttpResponse : HttpHead {
  std::string body;  // empty when `on_body` took it
};

struct HttpRequest {
  std::string url;
  // Sent as "Authorization: Bearer", and only while scheme, host and port are those of token_origin.
  std::string token;
  std::string token_origin;                  // any URL of that server
  uint64_t range_begin = 0;                  // > 0: asks for the bytes from here on
  size_t max_body_bytes = size_t{64} << 20;  // of `body`; more throws Error{kNetwork}

  // Takes the body of a 2xx answer piece by piece. May throw: the transfer stops and the exception reaches
  // the caller of get(). Bodies of other statuses (an error's explanation) go to HttpResponse::body.
  std::function<void(const HttpHead& head, std::string_view piece)> on_body;
  // Asked at least once a second; true stops the transfer with Error{kInterrupted}.
  std::function<bool()> cancelled;
};

// One connection pool. One thread at a time; make one client per thread.
class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Performs one GET, following up to ten redirects (never from https to http). Any HTTP status is an
  // answer, not an error. Throws HttpFailure when there is none; no retries.
  HttpResponse get(const HttpRequest& request);
  // Performs one POST of a JSON text. A redirect is an answer like others. Throws as get().
  HttpResponse post(const HttpRequest& request, const std::string& json);

 private:
  struct Transfer;
  HttpResponse exchange(const HttpRequest& request, const std::string& url, const std::string* json);
  void* curl_;  // CURL*
};

// True when two URLs share scheme, host and port.
bool same_origin(const std::string& a, const std::string& b);
// `reference` (absolute or relative, as in a Link or Location header) as seen from `base`. Throws
// Error{kNetwork} for one that is no http or https URL.
std::string resolve_url(const std::string& base, const std::string& reference);

}  // namespace hunch
