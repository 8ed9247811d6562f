// A conversation with a model: messages in, answers out. What the KV cache already holds of the
// rendered template is not computed again.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/generate.h"
#include "text/chat_text.h"
#include "text/thinking.h"

namespace hunch {

class Conversation {
 public:
  // `engine` outlives it.
  Conversation(const Engine& engine, ChatText text);

  void set_system(const std::string& text);  // "" removes it; the conversation goes on
  void reset();                              // forgets everything but the system message
  // Goes on with a conversation that was held before: a list of messages as in the OpenAI API. Throws Error{kUsage |
  // kFormat} where the template cannot render it; the present one then stays.
  void load(nlohmann::ordered_json messages);

  // Answers the user in `context`, which nobody else appends to: always the same one, or one that computes its sequence
  // another way. Where it is too small for the conversation, the oldest turns are forgotten and `n_forgotten` says how
  // many. A stop ends the answer early and keeps what there is of it. On an error (and on a stop before the answer
  // began, Error{kInterrupted}) the question is taken back. Tokens are shown without the white space that begins the
  // answer: many vocabularies have it there, and templates add it again. `on_text` sees the same text with what the
  // model thought told from what it answers; the history keeps the thinking as "reasoning_content", which templates are
  // not shown, since those of models that think drop it from past answers.
  struct Answer {
    Generated generated;
    size_t n_forgotten = 0, n_cached = 0;  // turns; tokens that were in the cache already
  };
  using OnToken = std::function<bool(const GeneratedToken&)>;
  using OnText = std::function<void(const SplitText&)>;  // after each OnToken, and of what was kept at the end
  Answer say(Context& context, const std::string& user, const GenerateOptions& options, const OnToken& on_token,
             const OnText& on_text = {});
  // Answers the last question once more, as say(); on an error the answer that was there stays. Throws Error{kUsage}
  // where nothing was asked yet.
  Answer say_again(Context& context, const GenerateOptions& options, const OnToken& on_token,
                   const OnText& on_text = {});

  const nlohmann::ordered_json& messages() const { return messages_; }

 private:
  std::string render() const;
  std::vector<int32_t> encode(const std::string& rendered) const;
  Answer answer(Context& context, const GenerateOptions& options, const OnToken& on_token, const OnText& on_text);
  Answer or_restore(Context& context, nlohmann::ordered_json before, const std::function<Answer()>& answer);
  bool forget_oldest_turn();

  const Engine& engine_;
  ChatText text_;
  const ThinkingTags& tags_;
  std::vector<int32_t> shown_;  // control tokens that the tags are made of
  nlohmann::ordered_json messages_ = nlohmann::ordered_json::array();
  std::vector<int32_t> cached_;  // ids in the KV cache, in order
};

}  // namespace hunch
