// The answer to a chat, of one job, as blocks that come one after the other: thinking, text, calls of tools.
// Anthropic's, Ollama's and OpenAI's responses show them each in their own way.
#pragma once
#include <optional>

#include "serve/answer_writer.h"
#include "serve/chat_parts.h"

namespace hunch::serve {

class PartsAnswer : public AnswerWriter {
 public:
  // Without a splitter all is content.
  PartsAnswer(std::shared_ptr<Reply> reply, Dialect dialect, bool stream, std::optional<ChatSplitter> splitter)
      : AnswerWriter(std::move(reply), dialect, stream), splitter_(std::move(splitter)) {}

  // What the splitter found; begins the stream where nothing did.
  void add(const std::vector<ChatPart>& parts);

 protected:
  struct Block {
    ChatPart::Kind kind;  // kThinking, kContent or kCall
    std::string text;     // a call's: its arguments
    std::string id, name;
  };
  // Of a stream: the newest block begins, gets more text, ends.
  virtual void open(const Block& block) {}
  virtual void more(const Block& block, const std::string& text) {}
  virtual void close(const Block& block) {}

  const std::vector<Block>& blocks() const { return blocks_; }
  bool has_calls() const;
  // All the text of this kind.
  std::string text_of(ChatPart::Kind kind) const;
  // What ended it; before that, as if the model itself had.
  const JobResult& result() const { return result_; }
  bool is_cut() const {
    const StopReason reason = result_.generated.stop_reason;
    return reason != StopReason::kEndOfText && reason != StopReason::kStopString;
  }
  // Tokens before the first that was no thinking.
  size_t n_thinking_tokens() const { return n_thinking_; }

 private:
  void take(size_t choice, const GeneratedToken& token, bool ends) override;
  void finish(size_t choice, const JobResult& result) override;

  std::optional<ChatSplitter> splitter_;
  std::vector<Block> blocks_;
  bool is_open_ = false;
  size_t n_taken_ = 0, n_thinking_ = 0;
  JobResult result_{.generated = {.stop_reason = StopReason::kEndOfText}};
};

// The arguments of a call as JSON; what a model wrote that is no object, or a very deep one, becomes {"": TEXT}.
Json arguments_json(const std::string& text);

}  // namespace hunch::serve
