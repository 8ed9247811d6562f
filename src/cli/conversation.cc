#include "cli/conversation.h"

#include <algorithm>

#include "base/error.h"

namespace hunch::cli {
namespace {

nlohmann::ordered_json message(const char* role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

}  // namespace

Conversation::Conversation(const Engine& engine, Context& context, ChatText text, GenerateOptions options,
                           bool add_special)
    : engine_(engine),
      context_(context),
      text_(std::move(text)),
      options_(std::move(options)),
      add_special_(add_special) {}

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
  return engine_.need_tokenizer().encode(apply_chat_template(text_.source, messages_, text_.options),
                                         {add_special_, true});
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

Conversation::Answer Conversation::say(const std::string& user,
                                       const std::function<bool(const GeneratedToken&)>& on_token) {
  const nlohmann::ordered_json before = messages_;
  try {
    messages_.push_back(message("user", user));
    Answer answer;
    std::vector<int32_t> ids = render();
    const size_t room = std::min(options_.n_tokens, std::max<size_t>(1, context_.n_ctx() / 4));
    while (ids.size() + room > context_.n_ctx()) {
      if (!forget_oldest_turn())
        fail(ErrorKind::kLimit,
             "the message is too long: {} tokens with room for an answer of {} do not fit into the context of {}; "
             "raise --ctx",
             ids.size(), room, context_.n_ctx());
      ++answer.n_forgotten;
      ids = render();
    }
    if (ids.empty()) fail(ErrorKind::kUsage, "the chat template made nothing of this conversation");
    // The last token is always computed: its logits begin the answer.
    answer.n_cached = size_t(std::ranges::mismatch(ids, cached_).in1 - ids.begin());
    answer.n_cached = std::min(answer.n_cached, ids.size() - 1);
    context_.truncate(answer.n_cached);
    cached_.resize(answer.n_cached);
    answer.generated = generate(context_, std::span(ids).subspan(answer.n_cached), options_, on_token);
    cached_ = ids;
    cached_.insert(cached_.end(), answer.generated.ids.begin(), answer.generated.ids.end());
    cached_.resize(context_.n_tokens());
    // Many vocabularies begin an answer with a space of its own, which templates add again.
    std::string& text = answer.generated.text;
    text.erase(0, text.find_first_not_of(" \n"));
    messages_.push_back(message("assistant", text));
    return answer;
  } catch (...) {
    messages_ = before;
    cached_.resize(std::min(cached_.size(), context_.n_tokens()));
    context_.truncate(cached_.size());
    throw;
  }
}

}  // namespace hunch::cli
