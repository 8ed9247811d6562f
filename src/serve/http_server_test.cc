// What the server makes of bytes that are no proper HTTP, and of its own end: requests by sockets.
#include "serve/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <mutex>
#include <thread>

namespace hunch::serve {
namespace {

class Client {
 public:
  explicit Client(uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  Client(const Client&) = delete;
  ~Client() { close(socket_); }
  void say(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      text.remove_prefix(size_t(n));
    }
  }
  // What comes until the connection ends.
  std::string hear() {
    std::string out;
    char bytes[4096];
    for (ssize_t n; (n = recv(socket_, bytes, sizeof bytes, 0)) > 0;) out.append(bytes, size_t(n));
    return out;
  }

 private:
  int socket_;
};

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() {
    HttpHandler handler;
    handler.refuse = [](const HttpRequest&, int status, const std::string& message) {
      return HttpResponse{status, "text/plain", message};
    };
    handler.check = [](const HttpRequest&) { return nullptr; };
    handler.answer = [this](const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
      {
        const std::lock_guard lock(mutex_);
        asked_ += request.path;
      }
      if (gate_.valid()) gate_.wait();
      reply->send({200, "text/plain", request.body});
    };
    handler.headers = [](const HttpRequest&) { return ""; };
    handler.log = [](const Json&) {};
    server_ = std::make_unique<HttpServer>("127.0.0.1", 0, HttpLimits{}, handler, n_open_);
  }
  std::string answer(std::string_view request) {
    Client client(server_->port());
    client.say(request);
    return client.hear();
  }
  std::string asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

  std::atomic<size_t> n_open_{0};
  std::mutex mutex_;
  std::string asked_;  // paths, one after the other
  std::shared_future<void> gate_;
  std::unique_ptr<HttpServer> server_;
};

// The bytes behind such a header must not become a request of their own.
TEST_F(HttpServerTest, BodiesOfOtherCodingsAreRefused) {
  const std::string next = "GET /next HTTP/1.1\r\nConnection: close\r\n\r\n";
  for (const char* coding : {"xchunked", "identity", "chunked, identity", "gzip, chunked", ""}) {
    const std::string said = fmt::format("POST /a HTTP/1.1\r\nTransfer-Encoding: {}\r\n\r\n{}", coding, next);
    EXPECT_EQ(answer(said).substr(0, 13), "HTTP/1.1 400 ") << coding;
  }
  const std::string chunks = "2\r\nab\r\n0\r\n\r\n";
  EXPECT_EQ(answer("POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks).substr(0, 13), "HTTP/1.1 400 ");
  EXPECT_EQ(asked(), "");
  const std::string good = answer("POST /a HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n" + chunks + next);
  EXPECT_NE(good.find("\r\n\r\nabHTTP/1.1 200"), good.npos) << good;
  EXPECT_EQ(asked(), "/a/next");
}

TEST_F(HttpServerTest, OneHostIsMeant) {
  EXPECT_EQ(answer("GET /a HTTP/1.1\r\nHost: localhost\r\nHost: example.com\r\n\r\n").substr(0, 13), "HTTP/1.1 400 ");
  EXPECT_EQ(asked(), "");
}

// Such a client takes the interim answer for the answer (RFC 9110, section 10.1.1).
TEST_F(HttpServerTest, Http10IsNotToldToContinue) {
  const std::string expects = "\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab";
  EXPECT_EQ(answer("POST /a HTTP/1.0" + expects).substr(0, 13), "HTTP/1.1 200 ");
  EXPECT_EQ(answer("POST /a HTTP/1.1" + expects).substr(0, 13), "HTTP/1.1 100 ");
}

// They are of no body, whose bytes are limited: the server would keep them all.
TEST_F(HttpServerTest, LinesBetweenChunksEnd) {
  const std::string head = "POST /a HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string much(1 << 20, '0');
  for (const std::string& line : {"2;" + much, much, "2\r\nab\r\n0\r\nX: " + much})
    EXPECT_EQ(answer(head + line).substr(0, 13), "HTTP/1.1 400 ") << line.substr(0, 20);
  EXPECT_EQ(asked(), "");
  const std::string chunk = "10000;" + much.substr(0, 1000) + "\r\n" + much.substr(0, 0x10000) + "\r\n";
  const std::string whole = answer(head + chunk + chunk + chunk + "0\r\nX: y\r\n\r\n");
  EXPECT_TRUE(whole.ends_with("\r\n\r\n" + much.substr(0, 3 * 0x10000))) << whole.substr(0, 200);
}

TEST_F(HttpServerTest, WhatNoHandlerBeganIsLetGoAtTheEnd) {
  std::promise<void> gate;
  gate_ = gate.get_future().share();
  std::vector<std::unique_ptr<Client>> clients;
  for (size_t i = 0; i < 8; ++i) {
    clients.push_back(std::make_unique<Client>(server_->port()));
    clients.back()->say("GET /a HTTP/1.1\r\n\r\n");
  }
  while (asked().size() < 8 || n_open_ < 8) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the others are read, and wait for a thread
  std::thread opens([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    gate.set_value();
  });
  server_->stop_handlers();
  opens.join();
  server_.reset();
  EXPECT_EQ(asked(), "/a/a/a/a");
  EXPECT_EQ(n_open_, 0u);
  for (const auto& client : clients) client->hear();  // ends
}

}  // namespace
}  // namespace hunch::serve
