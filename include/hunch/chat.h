// A conversation: messages in, answers out, by the model's chat template.
//
// Example:
//   hunch::LanguageModel model("model.gguf");
//   hunch::ChatSession chat(model, {.system = "You answer in one sentence."});
//   hunch::GenerationOptions options;
//   options.n_tokens = 200;
//   hunch::ChatAnswer answer = chat.say("Why is the sky blue?", options, [](std::string_view piece) {
//     std::cout << piece << std::flush;
//     return true;  // false stops
//   });
//   std::cout << "\n" << answer.n_cached << " tokens were remembered\n";
//
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hunch/generate.h"

namespace hunch {

struct ChatOptions {
  std::string system = {};         // the system message; empty: none
  std::string template_file = {};  // Jinja; empty: the model's own; "plain": User: ... Assistant: ...
  std::size_t n_ctx = 0;           // most tokens of the conversation; 0: the model's own (LoadOptions::n_ctx)
  // Not said: the model's own (LoadOptions).
  std::optional<PlanChoice> plan = {};
  std::optional<std::string> kv_policy = {};
  std::optional<std::string> experts = {};
  std::optional<std::vector<LoraAdapter>> adapters = {};
};

struct ChatAnswer {
  Generation generation;        // its text begins without white space
  std::size_t n_forgotten = 0;  // oldest turns that no longer fitted into the context
  std::size_t n_cached = 0;     // tokens of the conversation that did not have to be computed again
};

// One call at a time for all that belongs to a model. Keeps its model loaded.
class ChatSession {
 public:
  // Throws as Session; Error{kNotFound} for a model that has no chat template where none is named.
  explicit ChatSession(LanguageModel& model, const ChatOptions& options = {});
  ~ChatSession();
  ChatSession(ChatSession&&) noexcept;
  ChatSession& operator=(ChatSession&&) noexcept;

  // Answers the user. On an error the question is taken back. A plan, a router and adapters in `options` are those of
  // this answer. Throws Error{kLimit} for a message that does not fit into the context alone, Error{kInterrupted} when
  // it is cancelled before the answer begins, Error{kUsage} for another key policy than the session's; else as
  // generate().
  ChatAnswer say(std::string_view message, const GenerationOptions& options = {}, const OnText& on_text = {});
  // From the next answer on; empty: no system message.
  void set_system(std::string_view text);
  // Forgets everything but the system message.
  void reset();
  // All that was said: a JSON list of {"role", "content"}. What a model thought before it answered, between marks such
  // as <think>, is not in an answer's content but in "reasoning_content" beside it; ChatAnswer has the text with both.
  std::string messages_json() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hunch
