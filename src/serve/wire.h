// What a connection's bytes go through: TCP, or TLS over it. As Boost.Asio's streams, with the timeouts of
// Boost.Beast's.
#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <optional>
#include <utility>

#include "serve/tls.h"
#ifdef HUNCH_HAVE_TLS
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#endif

namespace hunch::serve {

class Wire {
 public:
  using executor_type = boost::beast::tcp_stream::executor_type;
  using Error = boost::system::error_code;

  // `tls`: none is plain TCP.
  Wire(boost::asio::ip::tcp::socket socket, boost::asio::ssl::context* tls) : tcp_(std::move(socket)) {
#ifdef HUNCH_HAVE_TLS
    if (tls) tls_.emplace(tcp_, *tls);
#endif
  }

  executor_type get_executor() noexcept { return tcp_.get_executor(); }
  // The TCP connection, for its timeouts and its end.
  boost::beast::tcp_stream& tcp() { return tcp_; }
  auto& socket() { return tcp_.socket(); }

  bool is_tls() const {
#ifdef HUNCH_HAVE_TLS
    return tls_.has_value();
#else
    return false;
#endif
  }

  template <class Buffers, class Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
#ifdef HUNCH_HAVE_TLS
    if (tls_) return tls_->async_read_some(buffers, std::forward<Handler>(handler));
#endif
    tcp_.async_read_some(buffers, std::forward<Handler>(handler));
  }
  template <class Buffers, class Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
#ifdef HUNCH_HAVE_TLS
    if (tls_) return tls_->async_write_some(buffers, std::forward<Handler>(handler));
#endif
    tcp_.async_write_some(buffers, std::forward<Handler>(handler));
  }

  // Of TLS; TCP alone has nothing to agree on or to end.
  template <class Handler>
  void async_handshake(Handler&& handler) {
#ifdef HUNCH_HAVE_TLS
    if (tls_) return tls_->async_handshake(boost::asio::ssl::stream_base::server, std::forward<Handler>(handler));
#endif
    handler(Error());
  }
  template <class Handler>
  void async_shutdown(Handler&& handler) {
#ifdef HUNCH_HAVE_TLS
    if (tls_) return tls_->async_shutdown(std::forward<Handler>(handler));
#endif
    handler(Error());
  }
  // From now on bytes go as they are.
  void leave_tls() {
#ifdef HUNCH_HAVE_TLS
    tls_.reset();
#endif
  }
  // Whether a handshake failed since the client speaks HTTP without TLS.
  static bool is_plain_http(const Error& error) {
#ifdef HUNCH_HAVE_TLS
    return error.category() == boost::asio::error::get_ssl_category() &&
           ERR_GET_REASON(static_cast<unsigned long>(error.value())) == SSL_R_HTTP_REQUEST;
#else
    return false;
#endif
  }

 private:
  boost::beast::tcp_stream tcp_;
#ifdef HUNCH_HAVE_TLS
  std::optional<boost::asio::ssl::stream<boost::beast::tcp_stream&>> tls_;
#endif
};

}  // namespace hunch::serve
