// The answer to one request, of one or several jobs: told of their tokens, it writes events, or one object at the end.
// What they look like is each API's own: openai_answer.h, and parts_answer.h for the others.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "serve/dialect.h"
#include "serve/job.h"

namespace hunch::serve {

// Everything but the constructor and listen_to() runs on the connection's thread.
class AnswerWriter : public std::enable_shared_from_this<AnswerWriter> {
 public:
  // `n_of_prompt`: so many jobs, one after the other, share a prompt.
  AnswerWriter(std::shared_ptr<Reply> reply, Dialect dialect, bool stream, size_t n_of_prompt = 1)
      : reply_(std::move(reply)), dialect_(dialect), stream_(stream), n_of_prompt_(n_of_prompt) {}
  virtual ~AnswerWriter() = default;

  // Makes the jobs tell this, choice by choice, and end when the client goes away. Before they are submitted.
  void listen_to(const std::vector<std::shared_ptr<Job>>& jobs);

 protected:
  // What one choice makes of what it is told; in a stream, each may write().
  virtual void note_begun(size_t choice, size_t n_cached) {}
  // A token, before it is taken.
  virtual void see(size_t choice, const GeneratedToken& token) {}
  virtual void take_prompt(size_t choice, const std::vector<ScoredToken>& tokens) {}
  virtual void take(size_t choice, const GeneratedToken& token, bool ends) = 0;
  virtual void finish(size_t choice, const JobResult& result) = 0;
  // Nothing came for a while: what tells the client of a stream that it is not forgotten.
  virtual void wait() {}
  // Before the first event of a stream.
  virtual void begin_stream() {}
  // All choices are finished: the last events of a stream, or the whole answer, by send().
  virtual void end() = 0;
  // The last event of a stream that cannot go on.
  virtual std::string error_event(const RequestError& error) const;
  virtual const char* stream_type() const { return "text/event-stream"; }

  struct Usage {
    size_t n_prompt = 0, n_cached = 0, n_generated = 0;  // tokens; of each prompt once
  };
  const Usage& usage() const { return usage_; }
  bool streams() const { return stream_; }
  // Begins the stream, where it is one and that was not done.
  void begin();
  void write(std::string bytes) { reply_->write(std::move(bytes)); }
  void send(const Json& answer) { reply_->send({200, "application/json", dump(answer)}); }

 private:
  class Listener;
  void on_wait();
  void on_begun(size_t choice, size_t n_cached);
  void on_prompt(size_t choice, const std::vector<ScoredToken>& tokens);
  void on_token(size_t choice, const GeneratedToken& token, bool ends);
  void on_done(size_t choice, const JobResult& result);
  void on_error(std::exception_ptr error);

  const std::shared_ptr<Reply> reply_;
  const Dialect dialect_;
  const bool stream_;
  const size_t n_of_prompt_;
  std::vector<std::weak_ptr<Job>> jobs_;
  bool begun_ = false, failed_ = false;
  size_t n_done_ = 0;
  Usage usage_;
};

}  // namespace hunch::serve
