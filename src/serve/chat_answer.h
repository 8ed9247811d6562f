// The answer to POST /v1/chat/completions: what the model thinks is told from what it answers.
#pragma once
#include <functional>

#include "serve/chat_parts.h"
#include "serve/openai_answer.h"

namespace hunch::serve {

class ChatAnswer : public OpenAiAnswer {
 public:
  // `splitter` makes one for each choice.
  using MakeSplitter = std::function<ChatSplitter()>;
  ChatAnswer(About about, const Tokenizer& tokenizer, std::shared_ptr<Reply> reply, const MakeSplitter& splitter);

 private:
  struct Choice {
    ChatSplitter splitter;
    ChatMessage message = {};
    Json log_probs = Json::array();
    StopReason stop_reason = StopReason::kLength;
  };
  void take(size_t choice, const GeneratedToken& token, bool ends) override;
  void finish(size_t choice, const JobResult& result) override;
  const char* object(bool chunk) const override { return chunk ? "chat.completion.chunk" : "chat.completion"; }
  Json choices() override;
  void begin_stream() override;

  // Keeps the parts and, in a stream, sends them in one event.
  void add(size_t choice, const std::vector<ChatPart>& parts);
  Json log_probs_of(Choice& choice) const;
  static const char* reason_of(const Choice& choice);

  std::vector<Choice> choices_;
};

}  // namespace hunch::serve
