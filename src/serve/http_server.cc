#include "serve/http_server.h"

#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <thread>

#include "base/error.h"
#include "serve/connection.h"

namespace hunch::serve {
namespace asio = boost::asio;
using asio::ip::tcp;
using Code = boost::system::error_code;

struct HttpServer::Impl {
  Impl(const HttpLimits& limits, HttpHandler handler, std::atomic<size_t>& n_open, const TlsFiles& tls)
      : all{limits, std::move(handler), n_open, io, workers, tls.any() ? tls_context(tls) : nullptr} {}

  Connections all;  // outlives the connections, which handlers in `io` hold
  asio::io_context io{1};
  asio::thread_pool workers{4};  // grammars may keep some of them for a while
  tcp::acceptor acceptor{io};
  asio::steady_timer retry{io};
  std::optional<asio::signal_set> signals;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work;
  std::thread thread;

  void accept() {
    acceptor.async_accept([this](const Code& error, tcp::socket socket) {
      if (!acceptor.is_open() || error == asio::error::operation_aborted) return;
      if (error) {  // no descriptor is free: those that are open go on, and it is tried again
        retry.expires_after(std::chrono::milliseconds(100));
        retry.async_wait([this](const Code& cancelled) {
          if (!cancelled) accept();
        });
        return;
      }
      if (all.open.size() < all.limits.n_connections) std::make_shared<Connection>(std::move(socket), all)->begin();
      accept();
    });
  }

  void wait_for_signal(const std::function<void()>& call) {
    signals->async_wait([this, call](const Code& error, int) {
      if (error) return;
      call();
      wait_for_signal(call);
    });
  }
};

HttpServer::HttpServer(const std::string& host, uint16_t port, const HttpLimits& limits, HttpHandler handler,
                       std::atomic<size_t>& n_open, const TlsFiles& tls)
    : impl_(std::make_unique<Impl>(limits, std::move(handler), n_open, tls)) {
  Code error;
  const asio::ip::address address = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, error);
  if (error)
    fail(ErrorKind::kUsage, "the host '{}' is no IP address: 127.0.0.1 serves this machine, 0.0.0.0 all", host);
  tcp::acceptor& acceptor = impl_->acceptor;
  const tcp::endpoint endpoint(address, port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(1024, error);
  if (error) fail(ErrorKind::kIo, "cannot listen at {}:{}: {}", host, port, error.message());
  impl_->accept();
  impl_->work.emplace(impl_->io.get_executor());
  impl_->thread = std::thread([this] { impl_->io.run(); });
}

HttpServer::~HttpServer() {
  asio::post(impl_->io, [impl = impl_.get()] {
    impl->all.closing = true;
    impl->acceptor.close();
    impl->retry.cancel();
    if (impl->signals) impl->signals->cancel();
    const std::set<Connection*> open = impl->all.open;
    for (Connection* connection : open) connection->close();
  });
  impl_->workers.join();
  impl_->io.stop();
  impl_->thread.join();
}

uint16_t HttpServer::port() const { return impl_->acceptor.local_endpoint().port(); }

void HttpServer::on_signal(std::function<void()> call) {
  impl_->signals.emplace(impl_->io, SIGINT, SIGTERM);
  struct sigaction hangup {};
  if (sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN) impl_->signals->add(SIGHUP);
  asio::post(impl_->io, [impl = impl_.get(), call = std::move(call)] { impl->wait_for_signal(call); });
}

void HttpServer::close_idle() {
  asio::post(impl_->io, [impl = impl_.get()] {
    Code ignored;
    impl->all.closing = true;
    impl->acceptor.close(ignored);
    const std::set<Connection*> open = impl->all.open;
    for (Connection* connection : open)
      if (connection->is_idle()) connection->close();
  });
}

void HttpServer::stop_handlers() {
  impl_->workers.stop();
  impl_->workers.join();
}

bool HttpServer::wait_until_closed(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (impl_->all.n_open > 0) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

}  // namespace hunch::serve
