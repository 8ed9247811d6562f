// A reply that keeps its model loaded: what answers hold is told about a model's words, and may be told late.
#pragma once
#include <functional>
#include <memory>
#include <utility>

#include "serve/http.h"

namespace hunch::serve {

// Runs a call at its end.
class Lease {
 public:
  explicit Lease(std::function<void()> give_back) : give_back_(std::move(give_back)) {}
  Lease(Lease&& other) noexcept : give_back_(std::exchange(other.give_back_, {})) {}
  Lease& operator=(Lease&&) = delete;
  ~Lease() {
    if (give_back_) give_back_();
  }

 private:
  std::function<void()> give_back_;
};

class LeasedReply : public Reply {
 public:
  LeasedReply(std::shared_ptr<Reply> reply, Lease lease) : lease_(std::move(lease)), reply_(std::move(reply)) {}
  void send(HttpResponse response) override { reply_->send(std::move(response)); }
  void begin_stream(std::string type) override { reply_->begin_stream(std::move(type)); }
  void write(std::string bytes) override { reply_->write(std::move(bytes)); }
  void end() override { reply_->end(); }
  void when_gone(std::function<void()> call) override { reply_->when_gone(std::move(call)); }
  void post(std::function<void()> call) override { reply_->post(std::move(call)); }
  void note(std::string name, Json value) override { reply_->note(std::move(name), std::move(value)); }

 private:
  const Lease lease_;
  const std::shared_ptr<Reply> reply_;
};

}  // namespace hunch::serve
