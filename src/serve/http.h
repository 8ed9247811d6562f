// A request and where its answer goes, without sockets: what handlers see of HTTP.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/json.h"

namespace hunch::serve {

struct HttpRequest {
  std::string method, path;            // "POST", "/v1/completions": without the query
  std::string authorization;           // the header's value, or "Bearer KEY" of an x-api-key
  std::string host = {}, origin = {};  // the headers' values
  std::string body = {};
  std::string if_none_match = {};  // the header's value
  std::string rest = {};           // of the path, what stands for the * of its route
  std::string query = {};          // what follows the ? of the target
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json", body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
};

// The answer to one request: either send(), or begin_stream(), write() any number of times, end(). All functions may be
// called from any thread; calls of one thread keep their order. When nobody can read the answer any more they do
// nothing. Letting go of it without an end closes the connection.
class Reply {
 public:
  virtual ~Reply() = default;
  virtual void send(HttpResponse response) = 0;
  virtual void begin_stream(std::string content_type) = 0;
  virtual void write(std::string bytes) = 0;
  virtual void end() = 0;
  // Called once, on the connection's thread, when the client goes away before the end; at once if it is gone.
  virtual void when_gone(std::function<void()> call) = 0;
  // Runs on the connection's thread, in order.
  virtual void post(std::function<void()> call) = 0;
  // A field of the request's line in the log.
  virtual void note(std::string name, Json value) = 0;
};

// Who answers. Called from several threads.
struct HttpHandler {
  // What HTTP itself refuses (413, 431, no HTTP at all), in the form that its path's clients understand.
  std::function<HttpResponse(const HttpRequest&, int status, const std::string& message)> refuse;
  // Of a request without its body yet: an answer that makes the body unnecessary (401, 404, 405), or nothing.
  std::function<std::unique_ptr<HttpResponse>(const HttpRequest&)> check;
  // Does not throw.
  std::function<void(HttpRequest, std::shared_ptr<Reply>)> answer;
  // Lines of the header that every answer to this request has, each with its end.
  std::function<std::string(const HttpRequest&)> headers;
  std::function<void(const Json&)> log;  // one line per request
};

}  // namespace hunch::serve
