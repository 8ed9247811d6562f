// The answer to one request, of one or several jobs: told of their tokens, it writes events, or one object at the end.
// completion_answer.h and chat_answer.h say what they look like.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "serve/http.h"
#include "serve/job.h"
#include "serve/settings.h"
#include "text/tokenizer.h"

namespace hunch::serve {

// Everything but the constructor and jobs() runs on the connection's thread.
class AnswerWriter : public std::enable_shared_from_this<AnswerWriter> {
 public:
  struct About {
    std::string id, model;  // "cmpl-...", the name that answers carry
    int64_t created = 0;    // seconds since 1970
    bool stream = false, include_usage = false, log_probs = false;
    size_t n_choices = 1;            // jobs
    size_t n_choices_of_prompt = 1;  // that share a prompt
  };
  // The tokenizer outlives it.
  AnswerWriter(About about, const Tokenizer& tokenizer, std::shared_ptr<Reply> reply);
  virtual ~AnswerWriter() = default;

  // Makes the jobs tell this, choice by choice, and end when the client goes away. Before they are submitted.
  void listen_to(const std::vector<std::shared_ptr<Job>>& jobs);

 protected:
  // What one choice makes of what it is told; each may emit() events.
  virtual void take_prompt(size_t choice, const std::vector<ScoredToken>& tokens) {}
  virtual void take(size_t choice, const GeneratedToken& token, bool ends) = 0;
  virtual void finish(size_t choice, const JobResult& result) = 0;
  virtual const char* object(bool chunk) const = 0;
  // The choices of a whole answer.
  virtual Json choices() = 0;
  // Before the first event of a stream.
  virtual void begin_stream() {}

  bool streams() const { return about_.stream; }
  bool wants_log_probs() const { return about_.log_probs; }
  size_t n_choices() const { return about_.n_choices; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  // An event with one choice, and what its tokens used of the model where that was asked for.
  void emit(Json choice);
  static const char* finish_reason(StopReason reason);

 private:
  class Listener;
  void on_token(size_t choice, const GeneratedToken& token, bool ends);
  void on_prompt(size_t choice, const std::vector<ScoredToken>& tokens);
  void on_done(size_t choice, const JobResult& result);
  void on_error(std::exception_ptr error);
  void begin();
  void end();
  Json envelope(bool chunk) const;
  Json usage() const;

  const About about_;
  const Tokenizer& tokenizer_;
  const std::shared_ptr<Reply> reply_;
  std::vector<std::weak_ptr<Job>> jobs_;
  bool begun_ = false, failed_ = false;
  std::vector<Json> uses_;  // [n_choices], of the tokens since a choice's last event: lists, or null
  size_t n_done_ = 0, n_prompt_ = 0, n_cached_ = 0, n_generated_ = 0;
};

// The text of one token as the APIs show it, and its bytes; a part of a character is "bytes:\xe2\x82".
std::string shown_token(const Tokenizer& tokenizer, int32_t id);
Json bytes_of(const Tokenizer& tokenizer, int32_t id);
// JSON has no infinity: as OpenAI, -9999 stands for it.
double shown_log_prob(float log_prob);

}  // namespace hunch::serve
