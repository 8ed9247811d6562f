// Models behind a port, until a signal ends it.
#pragma once
#include <functional>
#include <string>

#include "serve/http_server.h"
#include "serve/models.h"
#include "serve/router.h"

namespace hunch::serve {

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;  // 0: any that is free
  RouterOptions router = {};
  ModelsOptions models = {};
  HttpLimits limits = {};
  TlsFiles tls = {};                                            // none: plain HTTP
  double grace_seconds = 30;                                    // that running answers have after a signal
  std::function<void(const std::string&)> log;                  // a line per request; from another thread
  std::function<void(uint16_t port, const Service*)> on_ready;  // it listens; the service of the first model
};

// Serves until SIGINT, SIGTERM or SIGHUP; then nothing more is taken, running answers go on to their end or for the
// grace period, and it returns. A second signal ends the grace period. `first`: the first of the models, opened; else
// none is loaded before it is asked for. Throws as Models, Service and HttpServer.
void serve(std::optional<Engine> first, const ServerOptions& options);

}  // namespace hunch::serve
