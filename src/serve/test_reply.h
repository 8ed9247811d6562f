// A Reply for tests: keeps what would be sent, and runs everything at once.
#pragma once
#include "serve/http.h"

namespace hunch::serve {

class TestReply : public Reply {
 public:
  void send(HttpResponse r) override { response = std::move(r); }
  void begin_stream(std::string type) override { content_type = std::move(type); }
  void write(std::string bytes) override { stream += bytes; }
  void end() override { ended = true; }
  void when_gone(std::function<void()> call) override { gone = std::move(call); }
  void post(std::function<void()> call) override { call(); }
  void note(std::string name, Json value) override { notes[name] = std::move(value); }

  // The JSON of a stream's events or lines.
  std::vector<Json> events() const {
    std::vector<Json> out;
    for (size_t at = 0, end; (end = stream.find('\n', at)) != stream.npos; at = end + 1) {
      std::string line = stream.substr(at, end - at);
      if (line.starts_with("data: ")) line = line.substr(6);
      if (line.starts_with("{")) out.push_back(Json::parse(line));
    }
    return out;
  }

  HttpResponse response{0};
  std::string content_type, stream;
  bool ended = false;
  std::function<void()> gone;
  Json notes;
};

}  // namespace hunch::serve
