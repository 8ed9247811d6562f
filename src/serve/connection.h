// One connection: reads requests one after the other, writes their answers. http_server.cc alone includes this
// (Boost.Beast is slow to compile).
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <deque>
#include <optional>
#include <set>

#include "serve/http_server.h"
#include "serve/wire.h"

namespace hunch::serve {

class Connection;

// What all connections share; of the connections' thread, but for `workers`. It outlives `io`, which outlives
// `workers`: what these did not begin holds connections.
struct Connections {
  HttpLimits limits;
  HttpHandler handler;
  std::atomic<size_t>& n_open;
  boost::asio::io_context& io;
  boost::asio::thread_pool& workers;
  std::shared_ptr<boost::asio::ssl::context> tls = {};  // none: plain HTTP
  std::set<Connection*> open = {};
  size_t body_bytes = 0;  // that requests in reading hold, or say that they will
  bool closing = false;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(boost::asio::ip::tcp::socket socket, Connections& all);
  ~Connection();

  // Agrees on TLS where that is spoken, and reads the first request.
  void begin();
  bool is_idle() const { return !answering_; }
  void close();

 private:
  friend class ConnectionReply;
  using Error = boost::system::error_code;

  void read_request();
  void answer_plainly();
  void on_header(const Error& error);
  void take_body();
  void read_body();
  void on_body(const Error& error);
  // Of the body that is read, n bytes in all; false where all connections together would hold too many.
  bool hold(size_t n);
  void let_go_of_body();
  void refuse(int status, const char* message);
  void begin_answer();
  void watch();
  void leave();
  // Of the answer with this number; a late call for an earlier one does nothing.
  void send(uint64_t number, HttpResponse response);
  void begin_stream(uint64_t number, const std::string& content_type);
  void write(uint64_t number, std::string_view bytes);
  void end(uint64_t number);
  void let_go(uint64_t number);
  void put(std::string_view bytes);
  void write_more();
  void write_some();
  void finish_answer();
  void close_gently();
  void shut();
  void discard();
  void log();
  std::string head(int status, const std::string& content_type) const;

  Connections& all_;
  Wire wire_;
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
  std::array<char, 4096> rest_ = {};  // of what is read and thrown away
  size_t n_discarded_ = 0, n_held_ = 0;

  // Of the present answer.
  uint64_t number_ = 0;
  bool answering_ = false, streaming_ = false, chunked_ = false, complete_ = false, keep_alive_ = false, gone_ = false;
  bool without_body_ = false;  // HEAD
  int status_ = 0;
  std::string method_, path_, query_, client_, headers_;
  std::chrono::steady_clock::time_point began_;
  Json notes_ = Json::object();
  std::function<void()> when_gone_;
  std::string unsent_, sending_;
  size_t n_sent_ = 0;  // of sending_
};

}  // namespace hunch::serve
