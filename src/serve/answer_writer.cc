#include "serve/answer_writer.h"

#include <cmath>

#include "serve/sse.h"

namespace hunch::serve {

// Hands everything on to the connection's thread.
class AnswerWriter::Listener : public JobListener {
 public:
  Listener(std::shared_ptr<AnswerWriter> writer, size_t choice) : writer_(std::move(writer)), choice_(choice) {}
  void on_wait() override {
    post([](AnswerWriter& w) { w.on_wait(); });
  }
  void on_begun(size_t n_cached) override {
    post([c = choice_, n_cached](AnswerWriter& w) { w.on_begun(c, n_cached); });
  }
  void on_prompt(std::vector<ScoredToken> tokens) override {
    post([c = choice_, tokens = std::move(tokens)](AnswerWriter& w) { w.on_prompt(c, tokens); });
  }
  void on_token(const GeneratedToken& token, bool ends) override {
    post([c = choice_, token, ends](AnswerWriter& w) { w.on_token(c, token, ends); });
  }
  void on_done(const JobResult& result) override {
    post([c = choice_, result](AnswerWriter& w) { w.on_done(c, result); });
  }
  void on_error(std::exception_ptr error) override {
    post([error](AnswerWriter& w) { w.on_error(error); });
  }

 private:
  template <class Call>
  void post(Call call) {
    writer_->reply_->post([w = writer_, call = std::move(call)] {
      try {
        call(*w);
      } catch (...) {  // no memory for the answer's text
        w->on_error(std::current_exception());
      }
    });
  }
  std::shared_ptr<AnswerWriter> writer_;
  size_t choice_;
};

void AnswerWriter::listen_to(const std::vector<std::shared_ptr<Job>>& jobs) {
  for (size_t i = 0; i < jobs.size(); ++i) {
    jobs[i]->listener = std::make_shared<Listener>(shared_from_this(), i);
    jobs_.push_back(jobs[i]);
    if (i % n_of_prompt_ == 0) usage_.n_prompt += jobs[i]->prompt.size();
  }
  reply_->when_gone([jobs = jobs_] {
    for (const auto& job : jobs)
      if (const auto running = job.lock()) running->cancel.request();
  });
}

void AnswerWriter::begin() {
  if (begun_) return;
  begun_ = true;
  if (!stream_) return;
  reply_->begin_stream(stream_type());
  begin_stream();
}

void AnswerWriter::on_wait() {
  if (!failed_ && stream_) wait();
}

void AnswerWriter::on_begun(size_t choice, size_t n_cached) {
  note_begun(choice, n_cached);
  if (choice % n_of_prompt_ == 0) usage_.n_cached += n_cached;
}

void AnswerWriter::on_prompt(size_t choice, const std::vector<ScoredToken>& tokens) {
  if (failed_) return;
  begin();
  take_prompt(choice, tokens);
}

void AnswerWriter::on_token(size_t choice, const GeneratedToken& token, bool ends) {
  if (failed_) return;
  begin();
  see(choice, token);
  take(choice, token, ends);
}

void AnswerWriter::on_done(size_t choice, const JobResult& result) {
  if (failed_) return;
  begin();
  finish(choice, result);
  usage_.n_generated += result.generated.ids.size();
  if (choice == 0) {
    reply_->note("queue_ms", std::round(1e4 * result.queue_seconds) / 10);
    reply_->note("first_token_ms", std::round(1e4 * result.first_token_seconds) / 10);
    reply_->note("stop", name_of(result.generated.stop_reason));
  }
  if (++n_done_ < jobs_.size()) return;
  reply_->note("prompt_tokens", usage_.n_prompt);
  reply_->note("cached_tokens", usage_.n_cached);
  reply_->note("completion_tokens", usage_.n_generated);
  end();
  if (stream_) reply_->end();
}

void AnswerWriter::on_error(std::exception_ptr error) {
  if (failed_) return;
  failed_ = true;
  for (const auto& job : jobs_)
    if (const auto running = job.lock()) running->cancel.request();
  const RequestError shown = as_request_error(error);
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {  // the log is the server's own: what clients are not told stands there
    reply_->note("error", std::string(e.what()).substr(0, 300));
  } catch (...) {
  }
  if (!begun_ || !stream_) return reply_->send(error_response(shown, dialect_));
  reply_->write(error_event(shown));
  reply_->end();
}

std::string AnswerWriter::error_event(const RequestError& error) const {
  return sse_event(error_json(error, dialect_));
}

}  // namespace hunch::serve
