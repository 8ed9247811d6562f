// The answer to Anthropic's POST /v1/messages: one message of content blocks, or the events of its stream.
#pragma once
#include "serve/parts_answer.h"

namespace hunch::serve {

class AnthropicAnswer : public PartsAnswer {
 public:
  // `id`: "msg_...". `stops`: those of the request; other texts that end an answer are the template's.
  AnthropicAnswer(std::shared_ptr<Reply> reply, bool stream, std::optional<ChatSplitter> splitter, std::string id,
                  std::string model, std::vector<std::string> stops);

 private:
  void wait() override;
  void begin_stream() override;
  void open(const Block& block) override;
  void more(const Block& block, const std::string& text) override;
  void close(const Block& block) override;
  void end() override;
  std::string error_event(const RequestError& error) const override;
  void event(const char* type, Json fields);
  Json message() const;
  Json stop_fields() const;
  Json usage_json() const;
  size_t index() const { return blocks().size() - 1; }

  const std::string id_, model_;
  const std::vector<std::string> stops_;
};

}  // namespace hunch::serve
