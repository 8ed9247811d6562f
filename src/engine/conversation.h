// A conversation with a model: messages in, answers out. What the KV cache already holds of the
// rendered template is not computed again.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/generate.h"
#include "text/chat_text.h"

namespace hunch {

class Conversation {
 public:
  // `engine` outlives it.
  Conversation(const Engine& engine, ChatText text) : engine_(engine), text_(std::move(text)) {}

  void set_system(const std::string& text);  // "" removes it; the conversation goes on
  void reset();                              // forgets everything but the system message

  // Answers the user in `context`, which nobody else appends to: always the same one, or one that computes its sequence
  // another way. Where it is too small for the conversation, the oldest turns are forgotten and `n_forgotten` says how
  // many. A stop ends the answer early and keeps what there is of it. On an error (and on a stop before the answer
  // began, Error{kInterrupted}) the question is taken back. Tokens are shown without the white space that begins the
  // answer: many vocabularies have it there, and templates add it again.
  struct Answer {
    Generated generated;
    size_t n_forgotten = 0, n_cached = 0;  // turns; tokens that were in the cache already
  };
  Answer say(Context& context, const std::string& user, const GenerateOptions& options,
             const std::function<bool(const GeneratedToken&)>& on_token);

  const nlohmann::ordered_json& messages() const { return messages_; }

 private:
  std::vector<int32_t> render() const;
  bool forget_oldest_turn();

  const Engine& engine_;
  ChatText text_;
  nlohmann::ordered_json messages_ = nlohmann::ordered_json::array();
  std::vector<int32_t> cached_;  // ids in the KV cache, in order
};

}  // namespace hunch
