#include "serve/server.h"

#include <chrono>
#include <ctime>

namespace hunch::serve {
namespace {

std::string timestamp() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  const std::time_t seconds = ms / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:03}Z", text, ms % 1000);
}

// Signals, counted by one thread and waited for by another.
class Signals {
 public:
  void count() {
    {
      const std::lock_guard lock(mutex_);
      ++n_;
    }
    came_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    came_.wait(lock, [&] { return n_ > 0; });
  }
  bool has_second() {
    const std::lock_guard lock(mutex_);
    return n_ > 1;
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  size_t n_ = 0;
};

}  // namespace

void serve(std::optional<Engine> first, const ServerOptions& options) {
  Signals signals;
  StoredResponses responses;
  std::atomic<size_t> n_connections{0};
  Models models(options.models, responses);
  std::optional<Models::First> begun;
  if (first) begun.emplace(models.begin_with(std::move(*first)));
  Router router(models, responses, n_connections, options.router);
  HttpHandler handler;
  handler.refuse = [](const HttpRequest& request, int status, const std::string& message) {
    return Router::refusal(request, RequestError(status, message));
  };
  handler.check = [&](const HttpRequest& request) { return router.check(request); };
  handler.headers = [&](const HttpRequest& request) { return options.router.access.headers(request); };
  handler.answer = [&](HttpRequest request, const std::shared_ptr<Reply>& reply) {
    router.answer(std::move(request), reply);
  };
  handler.log = [&](const Json& line) {
    Json whole = {{"time", timestamp()}};
    whole.update(line);
    if (options.log) options.log(dump(whole));
  };
  HttpServer http(options.host, options.port, options.limits, handler, n_connections, options.tls);
  http.on_signal([&] { signals.count(); });
  if (options.on_ready) options.on_ready(http.port(), begun ? &begun->service : nullptr);
  begun.reset();

  signals.wait();
  http.close_idle();
  models.drain();
  const auto end = Clock::now() + std::chrono::duration<double>(options.grace_seconds);
  while (!models.wait_until_idle(0.1) && Clock::now() < end && !signals.has_second()) {
  }
  models.stop();
  models.wait_until_idle(5);
  http.wait_until_closed(5);  // what was answered is read
  http.stop_handlers();
  models.close();
}

}  // namespace hunch::serve
