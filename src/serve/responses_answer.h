// The answer to OpenAI's POST /v1/responses: a response of output items, or the events of its stream.
#pragma once
#include "serve/parts_answer.h"

namespace hunch::serve {

class ResponsesAnswer : public PartsAnswer {
 public:
  struct About {
    std::string id, model;  // "resp_...", the name that answers carry
    int64_t created = 0;    // seconds since 1970
    bool stream = false;
    Json echoed;  // ResponsesRequest::echoed
    // Told of a response that is done, and of its messages.
    std::function<void(const Json& response, const Json& messages)> keep = {};
  };
  ResponsesAnswer(std::shared_ptr<Reply> reply, About about, std::optional<ChatSplitter> splitter);

 private:
  void begin_stream() override;
  void open(const Block& block) override;
  void more(const Block& block, const std::string& text) override;
  void close(const Block& block) override;
  void end() override;
  std::string error_event(const RequestError& error) const override;
  std::string event(const char* type, Json fields) const;
  void emit(const char* type, Json fields) { write(event(type, std::move(fields))); }
  // Of the block's item: its id and index, and of text its index in the item.
  Json place(const Block& block) const;
  Json item(const Block& block, size_t i, const char* status) const;
  Json response(const char* status) const;
  Json messages() const;

  const About about_;
  mutable uint64_t n_events_ = 0;
};

}  // namespace hunch::serve
