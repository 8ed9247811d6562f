// The answer to Ollama's POST /api/chat and /api/generate: one object, or one for every part, each in a line of its
// own.
#pragma once
#include <optional>

#include "serve/parts_answer.h"

namespace hunch::serve {

class OllamaAnswer : public PartsAnswer {
 public:
  struct About {
    std::string model;
    bool stream = true;
    bool chats = true;  // /api/chat, else /api/generate
    Clock::time_point began = Clock::now();
  };
  // Without a splitter all is the answer's text.
  OllamaAnswer(std::shared_ptr<Reply> reply, About about, std::optional<ChatSplitter> splitter)
      : PartsAnswer(std::move(reply), Dialect::kOllama, about.stream, std::move(splitter)), about_(std::move(about)) {}

 private:
  void more(const Block& block, const std::string& text) override;
  void close(const Block& block) override;
  void end() override;
  std::string error_event(const RequestError& error) const override;
  const char* stream_type() const override { return "application/x-ndjson"; }
  Json with_text(const std::string& text, const std::string& thinking, const Json& calls) const;

  const About about_;
};

// What answers begin with: {"model", "created_at"}.
Json ollama_envelope(const std::string& model);

// The answer to a request that asks for nothing: its model was loaded, or goes.
Json ollama_load_json(const std::string& model, bool chats, const char* reason);

}  // namespace hunch::serve
