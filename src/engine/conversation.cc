#include "engine/conversation.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {
namespace {

nlohmann::ordered_json message(const char* role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

}  // namespace

void Conversation::set_system(const std::string& text) {
  const bool has = !messages_.empty() && messages_[0]["role"] == "system";
  if (has) messages_.erase(0);
  if (!text.empty()) messages_.insert(messages_.begin(), message("system", text));
}

void Conversation::reset() {
  const bool has = !messages_.empty() && messages_[0]["role"] == "system";
  messages_.erase(messages_.begin() + (has ? 1 : 0), messages_.end());
}

std::vector<int32_t> Conversation::render() const {
  return engine_.encode(apply_chat_template(text_.source, messages_, text_.options), {text_.add_special, true});
}

// Removes the first user message and all up to the next one. The last user message stays.
bool Conversation::forget_oldest_turn() {
  const size_t first = !messages_.empty() && messages_[0]["role"] == "system";
  size_t next = first + 1;
  while (next < messages_.size() && messages_[next]["role"] != "user") ++next;
  if (next >= messages_.size()) return false;
  messages_.erase(messages_.begin() + ptrdiff_t(first), messages_.begin() + ptrdiff_t(next));
  return true;
}

Conversation::Answer Conversation::say(Context& context, const std::string& user, const GenerateOptions& options,
                                       const std::function<bool(const GeneratedToken&)>& on_token) {
  const nlohmann::ordered_json before = messages_;
  GenerateOptions ended = options;
  ended.stop.insert(ended.stop.end(), text_.stop.begin(), text_.stop.end());
  bool shown = false;
  const auto show = [&](GeneratedToken token) {
    if (!shown) token.text.erase(0, token.text.find_first_not_of(" \n"));
    shown = shown || !token.text.empty();
    return !on_token || on_token(token);
  };
  try {
    messages_.push_back(message("user", user));
    Answer answer;
    std::vector<int32_t> ids = render();
    const size_t room = std::min(options.n_tokens, std::max<size_t>(1, context.n_ctx() / 4));
    while (ids.size() + room > context.n_ctx()) {
      if (!forget_oldest_turn())
        fail(ErrorKind::kLimit,
             "the message is too long: {} tokens with room for an answer of {} do not fit into the context of {}; "
             "a larger context (n_ctx) has room",
             ids.size(), room, context.n_ctx());
      ++answer.n_forgotten;
      ids = render();
    }
    if (ids.empty()) fail(ErrorKind::kUsage, "the chat template made nothing of this conversation");
    // The last token is always computed: its logits begin the answer.
    answer.n_cached = size_t(std::ranges::mismatch(ids, cached_).in1 - ids.begin());
    answer.n_cached = std::min(answer.n_cached, ids.size() - 1);
    answer.n_cached = context.go_back(answer.n_cached);
    cached_.resize(answer.n_cached);
    answer.generated = generate(context, std::span(ids).subspan(answer.n_cached), ended, show);
    if (answer.generated.ids.empty() && answer.generated.stop_reason == StopReason::kInterrupted)
      fail(ErrorKind::kInterrupted, "stopped before the answer began");
    cached_ = ids;
    cached_.insert(cached_.end(), answer.generated.ids.begin(), answer.generated.ids.end());
    cached_.resize(context.n_tokens());
    std::string& text = answer.generated.text;
    text.erase(0, text.find_first_not_of(" \n"));
    messages_.push_back(message("assistant", text));
    return answer;
  } catch (...) {
    messages_ = before;
    cached_.resize(context.go_back(std::min(cached_.size(), context.n_tokens())));
    throw;
  }
}

}  // namespace hunch
