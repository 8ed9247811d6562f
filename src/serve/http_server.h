// HTTP/1.1 over TCP, or TLS, by Boost.Beast: any number of connections on one thread, requests handed to a few others.
//
// Not cpp-httplib, which blocks one thread of its pool for each connection that is open, idle ones too: a thousand idle
// clients would need a thousand threads.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "serve/http.h"
#include "serve/tls.h"

namespace hunch::serve {

struct HttpLimits {
  size_t header_bytes = 16 << 10;
  size_t body_bytes = 16 << 20;
  size_t bodies_bytes = 64 << 20;  // of all requests that are being read; at least one of body_bytes
  size_t unsent_bytes = 4 << 20;   // of a stream whose client does not read: then it is as if the client had gone
  size_t n_connections = 4096;     // more are closed at once
  double idle_seconds = 75;        // between requests, until the header is complete
  double body_seconds = 60;        // from the header to the body's end
  double write_seconds = 30;       // without progress
};

class HttpServer {
 public:
  // Listens; `port` 0: any. Throws Error{kUsage} for a host that is no address, Error{kIo} where it cannot be listened
  // to. `n_open`, the connections there are, outlives it. With `tls` as
  // tls_context().
  HttpServer(const std::string& host, uint16_t port, const HttpLimits& limits, HttpHandler handler,
             std::atomic<size_t>& n_open, const TlsFiles& tls = {});
  // Closes everything at once.
  ~HttpServer();

  uint16_t port() const;
  // SIGINT, SIGTERM and SIGHUP (unless it is ignored) call this, on the connections' thread, instead of what they did;
  // until the end of this.
  void on_signal(std::function<void()> call);
  // From any thread: no new connections, idle ones are closed, others after their present answer.
  void close_idle();
  // Waits for the handlers that run; requests from now on are not answered.
  void stop_handlers();
  // Until all connections are closed, at most so long. Whether they are.
  bool wait_until_closed(double seconds);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hunch::serve
