// A conversation with a model: messages in, answers out. What the KV cache already holds of the
// rendered template is not computed again.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/chat_text.h"
#include "cli/session_io.h"
#include "engine/generate.h"

namespace hunch::cli {

class Conversation {
 public:
  // `engine` and `context` outlive it. `add_special`: BOS comes from the tokenizer, as the template has none.
  Conversation(const Engine& engine, Context& context, ChatText text, GenerateOptions options, bool add_special);

  void set_system(const std::string& text);  // "" removes it; the conversation goes on
  void reset();                              // forgets everything but the system message

  // Answers the user. Where the context is too small for the conversation, its oldest turns are forgotten
  // and `n_forgotten` says how many. Ctrl-C ends the answer early and keeps what there is of it. On an
  // error (and on Ctrl-C before the answer began, Error{kInterrupted}) the question is taken back.
  struct Answer {
    Generated generated;
    size_t n_forgotten = 0, n_cached = 0;  // turns; tokens that were in the cache already
  };
  Answer say(const std::string& user, const std::function<bool(const GeneratedToken&)>& on_token);

  const nlohmann::ordered_json& messages() const { return messages_; }

 private:
  std::vector<int32_t> render() const;
  bool forget_oldest_turn();

  const Engine& engine_;
  Context& context_;
  ChatText text_;
  GenerateOptions options_;
  bool add_special_;
  nlohmann::ordered_json messages_ = nlohmann::ordered_json::array();
  std::vector<int32_t> cached_;  // ids in the KV cache, in order
};

}  // namespace hunch::cli
