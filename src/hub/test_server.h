// Test helper: a small HTTP/1.1 server on 127.0.0.1, and on top of it a hub that answers as the real one does. One
// thread accepts, one thread per connection answers one request and closes. Stops with its object; every wait is
// bounded.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace hunch::test {

struct Request {
  std::string target;                          // "/path?query"
  std::map<std::string, std::string> headers;  // names in lower case
  std::string header(const std::string& name) const {
    const auto it = headers.find(name);
    return it == headers.end() ? "" : it->second;
  }
};

struct Reply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  size_t send_bytes = SIZE_MAX;  // of the body, then the connection is dropped
  int chunk_delay_ms = 0;        // before each 16 KiB of the body: a slow line
};

class HttpTestServer {
 public:
  using Handler = std::function<Reply(const Request&)>;

  explicit HttpTestServer(Handler handler) : handler_(std::move(handler)) {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (socket_ < 0 || bind(socket_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(socket_, 64) != 0 ||
        getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("the test server cannot listen on 127.0.0.1");
    }
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~HttpTestServer() { stop(); }

  void stop() {
    if (stop_.exchange(true)) return;
    acceptor_.join();
    for (std::thread& connection : connections_) connection.join();
    close(socket_);
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<Request> requests() const {
    std::lock_guard lock(mutex_);
    return requests_;
  }
  int most_at_once() const { return most_at_once_; }

 private:
  void accept_all() {
    while (!stop_) {
      pollfd ready{socket_, POLLIN, 0};
      if (poll(&ready, 1, 20) <= 0) continue;
      const int fd = accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      connections_.emplace_back([this, fd] {
        serve(fd);
        close(fd);
      });
    }
  }

  void serve(int fd) {
    const timeval limit{5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    std::string text;
    char buffer[4096];
    while (text.find("\r\n\r\n") == text.npos) {
      const ssize_t n = recv(fd, buffer, sizeof buffer, 0);
      if (n <= 0 || text.size() > 65536) return;
      text.append(buffer, size_t(n));
    }
    const Request request = parse(text);
    {
      std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    const int now = ++n_at_once_;
    for (int most = most_at_once_; now > most && !most_at_once_.compare_exchange_weak(most, now);) {
    }
    send_reply(fd, handler_(request));
    n_at_once_--;
  }

  static Request parse(const std::string& text) {
    Request request;
    const size_t space = text.find(' ');
    request.target = text.substr(space + 1, text.find(' ', space + 1) - space - 1);
    for (size_t at = text.find("\r\n") + 2; text.compare(at, 2, "\r\n") != 0;) {
      const size_t end = text.find("\r\n", at), colon = text.find(':', at);
      std::string name = text.substr(at, colon - at);
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return char(std::tolower(c)); });
      request.headers[name] = text.substr(colon + 2, end - colon - 2);
      at = end + 2;
    }
    return request;
  }

  void send_reply(int fd, const Reply& reply) {
    std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " x\r\nConnection: close\r\n";
    for (const auto& [name, value] : reply.headers) head += name + ": " + value + "\r\n";
    head += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n\r\n";
    if (!send_all(fd, head.data(), head.size())) return;
    const size_t n_bytes = std::min(reply.send_bytes, reply.body.size());
    for (size_t done = 0; done < n_bytes && !stop_;) {
      if (reply.chunk_delay_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(reply.chunk_delay_ms));
      const size_t n = std::min<size_t>(16384, n_bytes - done);
      if (!send_all(fd, reply.body.data() + done, n)) return;
      done += n;
    }
    shutdown(fd, SHUT_WR);
    char rest[256];
    while (!stop_ && recv(fd, rest, sizeof rest, 0) > 0) {  // wait for the other end: closing early could lose bytes
    }
  }

  static bool send_all(int fd, const char* data, size_t size) {
    while (size > 0) {
      const ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
      if (n <= 0) return false;
      data += n;
      size -= size_t(n);
    }
    return true;
  }

  Handler handler_;
  int socket_ = -1;
  uint16_t port_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<int> n_at_once_{0}, most_at_once_{0};
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
  std::list<std::thread> connections_;
  std::thread acceptor_;
};

inline std::string hex_digest(const EVP_MD* kind, const std::string& bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n_bytes = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest, &n_bytes, kind, nullptr);
  std::string hex;
  for (unsigned i = 0; i < n_bytes; i++) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

// A hub with one model. Large files ("lfs") are redirected to a second server, as the hub redirects to its CDN.
class FakeHub {
 public:
  struct File {
    std::string content;
    bool lfs = false;
    std::string digest;           // instead of the true one, when not empty
    uint64_t size = 0;            // instead of the true one, when not zero
    std::vector<Reply> faults{};  // answers given first: a whole reply, or (status 0) only its send_bytes
    bool no_ranges = false;
    int chunk_delay_ms = 0;
  };

  FakeHub()
      : cdn_([this](const Request& request) { return content(request, request.target); }),
        hub_([this](const Request& request) { return answer(request); }) {}

  std::string repo = "org/model", branch = "main", commit = std::string(40, 'a');
  std::map<std::string, File> files;
  size_t page_size = 1000;
  std::string needs_token;           // listings and files only with this token
  bool names_errors = true;          // X-Error-Code, which mirrors leave out
  std::vector<Reply> api_faults;     // answers that the API gives first
  std::function<void()> on_content;  // called for each request of a file's content

  std::string url() const { return hub_.url(); }
  HttpTestServer& hub() { return hub_; }
  HttpTestServer& cdn() { return cdn_; }
  void stop() {
    hub_.stop();
    cdn_.stop();
  }
  // Requests of one file's content at the CDN (large) or the hub (small).
  std::vector<Request> content_requests(const std::string& path) const {
    std::vector<Request> out;
    for (const HttpTestServer* server : {&hub_, &cdn_}) {
      for (const Request& request : server->requests()) {
        const bool cdn = server == &cdn_;
        if (cdn == files.at(path).lfs && request.target.ends_with("/" + path)) out.push_back(request);
      }
    }
    return out;
  }

 private:
  Reply refuse(int status, const std::string& code) const {
    Reply reply{status, {}, "{\"error\":\"no\"}"};
    if (names_errors) reply.headers.push_back({"X-Error-Code", code});
    return reply;
  }

  Reply answer(const Request& request) {
    {
      std::lock_guard lock(mutex_);
      if (!api_faults.empty() && request.target.starts_with("/api/")) {
        const Reply reply = api_faults.front();
        api_faults.erase(api_faults.begin());
        return reply;
      }
    }
    const std::string model = "/api/models/" + repo, resolve = "/" + repo + "/resolve/" + commit + "/";
    const std::string& target = request.target;
    const bool known = target == model || target.starts_with(model + "/") || target.starts_with(resolve);
    const bool allowed = needs_token.empty() || request.header("authorization") == "Bearer " + needs_token;
    if (!known || !allowed) return refuse(known || names_errors ? 401 : 404, "RepoNotFound");
    if (target == model) return {200, {}, "{}"};
    if (target.starts_with(resolve)) return resolved(request, target.substr(resolve.size()));
    if (target == model + "/revision/" + branch || target == model + "/revision/" + commit) {
      return {200, {}, "{\"id\":\"" + repo + "\",\"sha\":\"" + commit + "\"}"};
    }
    if (target.starts_with(model + "/tree/" + commit)) return tree(model, target);
    return refuse(404, "RevisionNotFound");
  }

  Reply tree(const std::string& model, const std::string& target) {
    const size_t cursor = target.find("cursor=");
    const size_t begin = cursor == target.npos ? 0 : size_t(std::stoul(target.substr(cursor + 7)));
    Reply reply{200, {}, "[{\"type\":\"directory\",\"oid\":\"d\",\"size\":0,\"path\":\"dir\"}"};
    size_t i = 0;
    for (const auto& [path, file] : files) {
      if (i >= begin && i < begin + page_size) reply.body += ",\n" + entry(path, file);
      i++;
    }
    reply.body += "]";
    if (begin + page_size < files.size()) {
      reply.headers.push_back({"Link", "<" + url() + model + "/tree/" + commit + "?recursive=true&cursor=" +
                                           std::to_string(begin + page_size) + ">; rel=\"next\""});
    }
    return reply;
  }

  static std::string entry(const std::string& path, const File& file) {
    const std::string size = std::to_string(file.size ? file.size : file.content.size());
    std::string blob = "blob " + std::to_string(file.content.size());
    blob += '\0';
    std::string oid = hex_digest(EVP_sha1(), blob + file.content), sha256 = hex_digest(EVP_sha256(), file.content);
    if (!file.digest.empty()) oid = sha256 = file.digest;
    if (!file.lfs) return "{\"type\":\"file\",\"oid\":\"" + oid + "\",\"size\":" + size + ",\"path\":\"" + path + "\"}";
    return "{\"type\":\"file\",\"oid\":\"" + std::string(40, 'b') + "\",\"size\":" + size + ",\"lfs\":{\"oid\":\"" +
           sha256 + "\",\"size\":" + size + ",\"pointerSize\":134},\"path\":\"" + path + "\"}";
  }

  Reply resolved(const Request& request, const std::string& path) {
    if (!files.count(path)) return refuse(404, "EntryNotFound");
    if (files[path].lfs) return {302, {{"Location", cdn_.url() + "/signed/" + path}}, "moved"};
    return content(request, "/signed/" + path);
  }

  Reply content(const Request& request, const std::string& target) {
    if (on_content) on_content();
    std::lock_guard lock(mutex_);
    File& file = files.at(target.substr(8));
    Reply reply{200, {{"Accept-Ranges", "bytes"}}, file.content};
    reply.chunk_delay_ms = file.chunk_delay_ms;
    const std::string range = request.header("range");
    if (!range.empty() && !file.no_ranges) {  // "bytes=N-"
      const size_t begin = std::stoul(range.substr(6)), size = file.content.size();
      if (begin >= size) return {416, {{"Content-Range", "bytes */" + std::to_string(size)}}, ""};
      reply.status = 206;
      reply.headers.push_back({"Content-Range", "bytes " + std::to_string(begin) + "-" + std::to_string(size - 1) +
                                                    "/" + std::to_string(size)});
      reply.body.erase(0, begin);
    }
    if (file.faults.empty()) return reply;
    const Reply fault = file.faults.front();
    file.faults.erase(file.faults.begin());
    if (fault.status != 0) return fault;
    reply.send_bytes = fault.send_bytes;
    return reply;
  }

  mutable std::mutex mutex_;
  HttpTestServer cdn_, hub_;  // last: they stop before what they answer from goes away
};

}  // namespace hunch::test
