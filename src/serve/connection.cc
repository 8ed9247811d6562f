#include "serve/connection.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cmath>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

namespace hunch::serve {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

namespace {

// Of a request, what is read before it is looked at; a line between the chunks of a body ends within it.
constexpr size_t kMostAhead = 64 << 10;

std::chrono::milliseconds milliseconds(double seconds) { return std::chrono::milliseconds(int64_t(seconds * 1000)); }

// A client of TLS says that it goes by a record, which is encrypted: an alert of two bytes, its type in TLS 1.3 and a
// tag of at most 16. No request fits into that (RFC 8446, sections 5.2 and 6.1).
constexpr uint8_t kAlert = 21, kApplicationData = 23;
bool says_goodbye(const uint8_t (&head)[5]) {
  const size_t n = size_t(head[3]) << 8 | head[4];
  return head[0] == kAlert || (head[0] == kApplicationData && n <= 2 + 1 + 16);
}

std::string text_of(boost::string_view s) { return {s.data(), s.size()}; }

}  // namespace

// An answer's end of the connection: everything happens on the connection's thread.
class ConnectionReply : public Reply {
 public:
  ConnectionReply(std::shared_ptr<Connection> connection, uint64_t number)
      : connection_(std::move(connection)), number_(number) {}
  ~ConnectionReply() override {
    post([c = connection_, n = number_] { c->let_go(n); });
  }
  void send(HttpResponse response) override {
    post([c = connection_, n = number_, r = std::move(response)]() mutable { c->send(n, std::move(r)); });
  }
  void begin_stream(std::string content_type) override {
    post([c = connection_, n = number_, t = std::move(content_type)] { c->begin_stream(n, t); });
  }
  void write(std::string bytes) override {
    post([c = connection_, n = number_, b = std::move(bytes)] { c->write(n, b); });
  }
  void end() override {
    post([c = connection_, n = number_] { c->end(n); });
  }
  void when_gone(std::function<void()> call) override {
    post([c = connection_, n = number_, call = std::move(call)]() mutable {
      if (c->number_ != n || c->gone_) return call();
      if (!c->complete_) c->when_gone_ = std::move(call);
    });
  }
  void post(std::function<void()> call) override { asio::dispatch(connection_->all_.io, std::move(call)); }
  void note(std::string name, Json value) override {
    post([c = connection_, n = number_, name = std::move(name), value = std::move(value)]() mutable {
      if (c->number_ == n) c->notes_[name] = std::move(value);
    });
  }

 private:
  std::shared_ptr<Connection> connection_;
  uint64_t number_;
};

Connection::Connection(asio::ip::tcp::socket socket, Connections& all)
    : all_(all), wire_(std::move(socket), all.tls.get()), buffer_(all.limits.header_bytes + kMostAhead) {
  Error ignored;
  wire_.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
  client_ = wire_.socket().remote_endpoint(ignored).address().to_string();
  all_.open.insert(this);
  all_.n_open = all_.open.size();
}

Connection::~Connection() {
  let_go_of_body();
  all_.open.erase(this);
  all_.n_open = all_.open.size();
}

void Connection::close() {
  Error ignored;
  wire_.socket().shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  wire_.tcp().close();
}

void Connection::begin() {
  if (!wire_.is_tls()) return read_request();
  wire_.tcp().expires_after(std::chrono::seconds(10));
  wire_.async_handshake([self = shared_from_this()](const Error& error) {
    if (!error) return self->read_request();
    if (Wire::is_plain_http(error)) return self->answer_plainly();
    self->close();
  });
}

// What came is no TLS: a browser that was told http:// shows this.
void Connection::answer_plainly() {
  static constexpr std::string_view kBody = "This port speaks TLS: ask it by https://\n";
  wire_.leave_tls();
  unsent_ = fmt::format(
      "HTTP/1.1 400 Bad Request\r\nServer: hunch\r\nContent-Type: text/plain\r\nConnection: close\r\n"
      "Content-Length: {}\r\n\r\n{}",
      kBody.size(), kBody);
  complete_ = true;
  write_more();
}

void Connection::read_request() {
  if (all_.closing) return close();
  headers_.clear();
  parser_.emplace();
  parser_->header_limit(uint32_t(all_.limits.header_bytes));
  parser_->body_limit(all_.limits.body_bytes);
  wire_.tcp().expires_after(milliseconds(all_.limits.idle_seconds));
  http::async_read_header(wire_, buffer_, *parser_,
                          [self = shared_from_this()](const Error& error, size_t) { self->on_header(error); });
}

void Connection::on_header(const Error& error) {
  if (error == http::error::end_of_stream || error == beast::error::timeout ||
      error == asio::error::operation_aborted || error == asio::error::connection_reset)
    return close();
  if (error && error.category() != make_error_code(http::error::bad_method).category()) return close();
  const auto& request = parser_->get();
  method_ = text_of(request.method_string());
  path_ = text_of(request.target());
  const size_t question = std::min(path_.find('?'), path_.size());
  query_ = path_.substr(std::min(question + 1, path_.size()));
  path_.resize(question);
  began_ = std::chrono::steady_clock::now();
  if (error == http::error::header_limit) return refuse(431, "the request's header is too long");
  if (error == http::error::body_limit) return refuse(413, "the request's body is too long");
  if (error) return refuse(400, "this is no HTTP request");
  if (request.count(http::field::host) > 1) return refuse(400, "the request has more than one header Host");
  // Where a body ends that is coded otherwise, nobody knows: its bytes would be read as the next request (RFC 9112,
  // section 6.3).
  if (request.count(http::field::transfer_encoding) > 0 &&
      (request.version() < 11 || !beast::iequals(request[http::field::transfer_encoding], "chunked")))
    return refuse(400, "the request's Transfer-Encoding is another than that of HTTP/1.1, expected chunked");
  HttpRequest head;
  head.method = method_;
  head.path = path_;
  head.authorization = text_of(request[http::field::authorization]);
  if (const auto key = request["x-api-key"]; head.authorization.empty() && !key.empty())
    head.authorization = "Bearer " + text_of(key);
  head.host = text_of(request[http::field::host]);
  head.origin = text_of(request[http::field::origin]);
  headers_ = all_.handler.headers(head);
  if (const std::unique_ptr<HttpResponse> answer = all_.handler.check(head)) {
    begin_answer();
    keep_alive_ = keep_alive_ && parser_->is_done();
    return send(number_, std::move(*answer));
  }
  if (parser_->content_length().value_or(0) > all_.limits.body_bytes)
    return refuse(413, "the request's body is too long");
  if (request.version() >= 11 && beast::iequals(request[http::field::expect], "100-continue")) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    wire_.tcp().expires_after(milliseconds(all_.limits.write_seconds));
    asio::async_write(wire_, asio::buffer(kContinue), [self = shared_from_this()](const Error& failed, size_t) {
      if (failed) return self->close();
      self->take_body();
    });
    return;
  }
  take_body();
}

void Connection::take_body() {
  if (!hold(size_t(parser_->content_length().value_or(0)))) return;
  wire_.tcp().expires_after(milliseconds(all_.limits.body_seconds));
  read_body();
}

bool Connection::hold(size_t n) {
  if (n <= n_held_) return true;
  if (all_.body_bytes - n_held_ + n > std::max(all_.limits.bodies_bytes, all_.limits.body_bytes)) {
    refuse(503, "the server is reading too many large requests already, try again later");
    return false;
  }
  all_.body_bytes += n - n_held_;
  n_held_ = n;
  return true;
}

void Connection::let_go_of_body() { all_.body_bytes -= std::exchange(n_held_, 0); }

void Connection::read_body() {
  if (parser_->is_done()) return on_body({});
  http::async_read_some(wire_, buffer_, *parser_, [self = shared_from_this()](const Error& error, size_t) {
    if (error) return self->on_body(error);
    if (self->hold(self->parser_->get().body().size())) self->read_body();
  });
}

void Connection::on_body(const Error& error) {
  if (error == http::error::body_limit) return refuse(413, "the request's body is too long");
  if (error == beast::error::timeout) return close();
  if (error == http::error::partial_message ||
      (error && error.category() != make_error_code(http::error::bad_chunk).category()))
    return close();
  if (error) return refuse(400, "this is no HTTP request");
  begin_answer();
  auto& request = parser_->get();
  HttpRequest whole;
  whole.method = method_;
  whole.path = path_;
  whole.query = query_;
  whole.body = std::move(request.body());
  whole.if_none_match = text_of(request[http::field::if_none_match]);
  parser_.reset();
  watch();
  auto reply = std::make_shared<ConnectionReply>(shared_from_this(), number_);
  asio::post(all_.workers, [all = &all_, whole = std::move(whole), reply = std::move(reply),
                            n_held = std::exchange(n_held_, 0)]() mutable {
    all->handler.answer(std::move(whole), std::move(reply));
    asio::post(all->io, [all, n_held] { all->body_bytes -= n_held; });
  });
}

void Connection::begin_answer() {
  ++number_;
  answering_ = true;
  streaming_ = complete_ = gone_ = false;
  status_ = 0;
  notes_ = Json::object();
  const auto& request = parser_->get();
  chunked_ = request.version() >= 11;
  keep_alive_ = request.keep_alive() && !all_.closing;
  without_body_ = request.method() == http::verb::head;
  wire_.tcp().expires_never();
}

// What came was no request, or more than may come: an answer, and the end of the connection.
void Connection::refuse(int status, const char* message) {
  begin_answer();
  let_go_of_body();
  keep_alive_ = false;
  HttpRequest head;
  head.method = method_;
  head.path = path_;
  send(number_, all_.handler.refuse(head, status, message));
}

// Notices that the client goes away while it waits for its answer. What it sends meanwhile is its next request.
void Connection::watch() {
  wire_.socket().async_wait(
      asio::ip::tcp::socket::wait_read, [self = shared_from_this(), number = number_](const Error& error) {
        if (error || number != self->number_ || self->complete_) return;
        uint8_t bytes[5] = {};
        const ssize_t n = recv(self->wire_.socket().native_handle(), bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
        if (self->wire_.is_tls() && n == ssize_t(sizeof bytes) && says_goodbye(bytes)) return self->leave();
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) return self->leave();
        if (n < 0) self->watch();
      });
}

// Nobody reads any more.
void Connection::leave() {
  if (gone_) return;
  gone_ = true;
  if (answering_) log();
  answering_ = false;
  if (const auto call = std::exchange(when_gone_, {})) call();
  unsent_.clear();
  close();
}

std::string Connection::head(int status, const std::string& content_type) const {
  const auto reason = http::obsolete_reason(http::status(status));
  return fmt::format("HTTP/1.1 {} {}\r\nServer: hunch\r\nContent-Type: {}\r\nConnection: {}\r\n{}", status,
                     std::string_view(reason.data(), reason.size()), content_type, keep_alive_ ? "keep-alive" : "close",
                     headers_);
}

void Connection::send(uint64_t number, HttpResponse response) {
  if (number != number_ || complete_ || gone_ || streaming_) return;
  status_ = response.status;
  keep_alive_ = keep_alive_ && !all_.closing;
  std::string bytes = head(response.status, response.content_type);
  for (const auto& [name, value] : response.headers) bytes += name + ": " + value + "\r\n";
  bytes += fmt::format("Content-Length: {}\r\n\r\n", response.body.size());
  if (!without_body_) bytes += response.body;
  complete_ = true;
  put(bytes);
}

void Connection::begin_stream(uint64_t number, const std::string& content_type) {
  if (number != number_ || complete_ || gone_ || streaming_) return;
  streaming_ = true;
  status_ = 200;
  keep_alive_ = keep_alive_ && chunked_ && !all_.closing;
  put(head(200, content_type) + "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n" +
      (chunked_ ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n"));
}

void Connection::write(uint64_t number, std::string_view bytes) {
  if (number != number_ || complete_ || gone_ || !streaming_ || bytes.empty()) return;
  if (unsent_.size() + bytes.size() > all_.limits.unsent_bytes) {
    notes_["error"] = "the client does not read";
    return leave();
  }
  put(chunked_ ? fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes) : std::string(bytes));
}

void Connection::end(uint64_t number) {
  if (number != number_ || complete_ || gone_ || !streaming_) return;
  complete_ = true;
  put(chunked_ ? "0\r\n\r\n" : "");
}

// Nobody will say more of this answer.
void Connection::let_go(uint64_t number) {
  if (number != number_ || complete_ || gone_ || !answering_) return;
  notes_["error"] = "no answer";
  leave();
}

void Connection::put(std::string_view bytes) {
  unsent_ += bytes;
  if (sending_.empty()) write_more();
}

void Connection::write_more() {
  if (unsent_.empty()) {
    if (complete_ && answering_)
      finish_answer();
    else if (complete_ && !gone_)
      close_gently();
    return;
  }
  sending_ = std::exchange(unsent_, {});
  n_sent_ = 0;
  write_some();
}

void Connection::write_some() {
  wire_.tcp().expires_after(milliseconds(all_.limits.write_seconds));
  wire_.async_write_some(asio::buffer(sending_) + n_sent_, [self = shared_from_this()](const Error& error, size_t n) {
    if (error == beast::error::timeout) self->notes_["error"] = "the client does not read";
    if (error) {
      self->sending_.clear();
      return self->leave();
    }
    self->n_sent_ += n;
    if (self->n_sent_ < self->sending_.size()) return self->write_some();
    self->sending_.clear();
    self->wire_.tcp().expires_never();
    self->write_more();
  });
}

void Connection::finish_answer() {
  log();
  answering_ = false;
  when_gone_ = {};
  if (keep_alive_ && !all_.closing) return read_request();
  close_gently();
}

// What the client still sends is read, so that the system does not take the answer back with a reset.
void Connection::close_gently() {
  n_discarded_ = 0;
  wire_.tcp().expires_after(std::chrono::seconds(2));
  if (!wire_.is_tls()) return shut();
  wire_.async_shutdown([self = shared_from_this()](const Error&) { self->shut(); });
}

void Connection::shut() {
  Error ignored;
  wire_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  discard();
}

void Connection::discard() {
  wire_.tcp().async_read_some(asio::buffer(rest_), [self = shared_from_this()](const Error& error, size_t n) {
    self->n_discarded_ += n;
    if (error || self->n_discarded_ > (8 << 20)) return self->close();
    self->discard();
  });
}

void Connection::log() {
  const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began_).count();
  Json line = {{"client", client_},
               {"method", method_.substr(0, 16)},
               {"path", path_.substr(0, 200)},
               {"status", gone_ && !complete_ ? 499 : status_},
               {"ms", std::round(ms * 10) / 10}};
  line.update(notes_);
  all_.handler.log(line);
}

}  // namespace hunch::serve
