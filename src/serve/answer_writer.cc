#include "serve/answer_writer.h"

#include <algorithm>
#include <cmath>

#include "serve/layer_uses.h"
#include "serve/request_error.h"
#include "serve/sse.h"
#include "text/utf8.h"

namespace hunch::serve {

// Hands everything on to the connection's thread.
class AnswerWriter::Listener : public JobListener {
 public:
  Listener(std::shared_ptr<AnswerWriter> writer, size_t choice) : writer_(std::move(writer)), choice_(choice) {}
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

AnswerWriter::AnswerWriter(About about, const Tokenizer& tokenizer, std::shared_ptr<Reply> reply)
    : about_(std::move(about)), tokenizer_(tokenizer), reply_(std::move(reply)), uses_(about_.n_choices) {}

void AnswerWriter::listen_to(const std::vector<std::shared_ptr<Job>>& jobs) {
  for (size_t i = 0; i < jobs.size(); ++i) {
    jobs[i]->listener = std::make_shared<Listener>(shared_from_this(), i);
    jobs_.push_back(jobs[i]);
  }
  reply_->when_gone([jobs = jobs_] {
    for (const auto& job : jobs)
      if (const auto running = job.lock()) running->cancel.request();
  });
}

void AnswerWriter::begin() {
  if (begun_) return;
  begun_ = true;
  if (!about_.stream) return;
  reply_->begin_stream("text/event-stream");
  begin_stream();
}

void AnswerWriter::on_prompt(size_t choice, const std::vector<ScoredToken>& tokens) {
  if (failed_) return;
  begin();
  take_prompt(choice, tokens);
}

void AnswerWriter::on_token(size_t choice, const GeneratedToken& token, bool ends) {
  if (failed_) return;
  begin();
  if (!token.layers.empty()) uses_[choice].push_back(layer_uses(token.layers));
  take(choice, token, ends);
}

void AnswerWriter::on_done(size_t choice, const JobResult& result) {
  if (failed_) return;
  begin();
  finish(choice, result);
  if (choice % about_.n_choices_of_prompt == 0) {
    n_prompt_ += result.generated.n_prompt;
    n_cached_ += result.n_cached;
  }
  n_generated_ += result.generated.ids.size();
  if (choice == 0) {
    reply_->note("queue_ms", std::round(1e4 * result.queue_seconds) / 10);
    reply_->note("first_token_ms", std::round(1e4 * result.first_token_seconds) / 10);
    reply_->note("stop", name_of(result.generated.stop_reason));
  }
  if (++n_done_ == about_.n_choices) end();
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
  if (!begun_ || !about_.stream) {
    HttpResponse response{shown.status()};
    response.body = dump(shown.json());
    if (shown.status() == 503) response.headers = {{"Retry-After", "10"}};
    return reply_->send(std::move(response));
  }
  reply_->write(sse_event(shown.json()));
  reply_->end();
}

Json AnswerWriter::envelope(bool chunk) const {
  return {{"id", about_.id}, {"object", object(chunk)}, {"created", about_.created}, {"model", about_.model}};
}

Json AnswerWriter::usage() const {
  return {{"prompt_tokens", n_prompt_},
          {"completion_tokens", n_generated_},
          {"total_tokens", n_prompt_ + n_generated_},
          {"prompt_tokens_details", {{"cached_tokens", n_cached_}}}};
}

void AnswerWriter::emit(Json choice) {
  Json& uses = uses_[choice["index"].get<size_t>()];
  if (!uses.is_null()) choice["hunch"] = {{"tokens", std::exchange(uses, nullptr)}};
  Json event = envelope(true);
  event["choices"] = Json::array({std::move(choice)});
  if (about_.include_usage) event["usage"] = nullptr;
  reply_->write(sse_event(event));
}

void AnswerWriter::end() {
  reply_->note("prompt_tokens", n_prompt_);
  reply_->note("cached_tokens", n_cached_);
  reply_->note("completion_tokens", n_generated_);
  Json json = envelope(about_.stream);
  json["choices"] = about_.stream ? Json::array() : choices();
  json["usage"] = usage();
  if (!about_.stream) return reply_->send({200, "application/json", dump(json)});
  if (about_.include_usage) reply_->write(sse_event(json));
  reply_->write(sse_done());
  reply_->end();
}

const char* AnswerWriter::finish_reason(StopReason reason) {
  return reason == StopReason::kEndOfText || reason == StopReason::kStopString ? "stop" : "length";
}

std::string shown_token(const Tokenizer& tokenizer, int32_t id) {
  if (size_t(id) >= tokenizer.n_vocab()) return fmt::format("token_id:{}", id);
  const std::string_view piece = tokenizer.piece(id);
  if (valid_utf8_prefix(piece) == piece.size()) return std::string(piece);
  std::string out = "bytes:";
  for (const char c : piece) out += fmt::format("\\x{:02x}", uint8_t(c));
  return out;
}

Json bytes_of(const Tokenizer& tokenizer, int32_t id) {
  Json out = Json::array();
  if (size_t(id) < tokenizer.n_vocab())
    for (const char c : tokenizer.piece(id)) out.push_back(uint8_t(c));
  return out;
}

double shown_log_prob(float log_prob) { return std::isfinite(log_prob) ? double(log_prob) : -9999.0; }

}  // namespace hunch::serve
