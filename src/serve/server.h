// A model behind a port, until a signal ends it.
#pragma once
#include <functional>
#include <string>

#include "serve/http_server.h"
#include "serve/service.h"

namespace hunch::serve {

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;  // 0: any that is free
  ServiceOptions service = {};
  HttpLimits limits = {};
  double grace_seconds = 30;                              // that running answers have after a signal
  std::function<void(const std::string&)> log;            // a line per request; from another thread
  std::function<void(uint16_t port, Service&)> on_ready;  // it listens
};

// Serves until SIGINT, SIGTERM or SIGHUP; then nothing more is taken, running answers go on to their end or for the
// grace period, and it returns. A second signal ends the grace period. The engine is its own meanwhile. Throws as
// Service and HttpServer.
void serve(Engine& engine, const ServerOptions& options);

}  // namespace hunch::serve
