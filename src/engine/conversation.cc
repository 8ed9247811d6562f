#include "engine/conversation.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {
namespace {

nlohmann::ordered_json message(const char* role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

}  // namespace

Conversation::Conversation(const Engine& engine, ChatText text)
    : engine_(engine), text_(std::move(text)), tags_(thinking_tags(text_.source)) {
  std::vector<std::string_view> marks = {tags_.open, tags_.close, tags_.end};
  marks.insert(marks.end(), tags_.answer.begin(), tags_.answer.end());
  for (std::string_view mark : marks)
    for (int32_t id : engine_.need_tokenizer().encode(mark, {false, true}))
      if (engine_.need_tokenizer().is_control(id)) shown_.push_back(id);
}

void Conversation::set_system(const std::string& text) {
  const bool has = !messages_.empty() && messages_[0]["role"] == "system";
  if (has) messages_.erase(0);
  if (!text.empty()) messages_.insert(messages_.begin(), message("system", text));
}

void Conversation::reset() {
  const bool has = !messages_.empty() && messages_[0]["role"] == "system";
  messages_.erase(messages_.begin() + (has ? 1 : 0), messages_.end());
}

void Conversation::load(nlohmann::ordered_json messages) {
  if (!messages.is_array() || messages.empty())
    fail(ErrorKind::kUsage, "expected a list of messages {{\"role\", \"content\"}}, found {}",
         messages.is_array() ? "an empty one" : messages.type_name());
  std::swap(messages_, messages);
  try {
    render();
  } catch (...) {
    messages_ = std::move(messages);
    throw;
  }
}

std::string Conversation::render() const {
  nlohmann::ordered_json messages = messages_;
  for (auto& m : messages)
    if (m.is_object()) m.erase("reasoning_content");
  return apply_chat_template(text_.source, messages, text_.options);
}

std::vector<int32_t> Conversation::encode(const std::string& rendered) const {
  return engine_.encode(rendered, {text_.add_special, true});
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
                                       const OnToken& on_token, const OnText& on_text) {
  const nlohmann::ordered_json before = messages_;
  messages_.push_back(message("user", user));
  return or_restore(context, before, [&] { return answer(context, options, on_token, on_text); });
}

Conversation::Answer Conversation::say_again(Context& context, const GenerateOptions& options, const OnToken& on_token,
                                             const OnText& on_text) {
  const nlohmann::ordered_json before = messages_;
  size_t end = messages_.size();
  while (end && messages_[end - 1]["role"] != "user") --end;
  if (!end) fail(ErrorKind::kUsage, "there is no question yet that could be answered again");
  messages_.erase(messages_.begin() + ptrdiff_t(end), messages_.end());
  return or_restore(context, before, [&] { return answer(context, options, on_token, on_text); });
}

Conversation::Answer Conversation::or_restore(Context& context, nlohmann::ordered_json before,
                                              const std::function<Answer()>& answer) {
  try {
    return answer();
  } catch (...) {
    messages_ = std::move(before);
    cached_.resize(context.go_back(std::min(cached_.size(), context.n_tokens())));
    throw;
  }
}

// Answers the last message, which is the user's.
Conversation::Answer Conversation::answer(Context& context, const GenerateOptions& options, const OnToken& on_token,
                                          const OnText& on_text) {
  GenerateOptions ended = options;
  ended.stop.insert(ended.stop.end(), text_.stop.begin(), text_.stop.end());
  ended.shown.insert(ended.shown.end(), shown_.begin(), shown_.end());
  Answer answer;
  std::string rendered = render();
  std::vector<int32_t> ids = encode(rendered);
  const size_t room = std::min(options.n_tokens, std::max<size_t>(1, context.n_ctx() / 4));
  while (ids.size() + room > context.n_ctx()) {
    if (!forget_oldest_turn())
      fail(ErrorKind::kLimit,
           "the message is too long: {} tokens with room for an answer of {} do not fit into the context of {}; {}",
           ids.size(), room, context.n_ctx(), room_for(engine_.config(), ids.size() + room));
    ++answer.n_forgotten;
    rendered = render();
    ids = encode(rendered);
  }
  if (ids.empty()) fail(ErrorKind::kUsage, "the chat template made nothing of this conversation");

  ThinkingSplitter splitter(tags_, opens_thinking(rendered, tags_));
  std::string thinking, content;
  const auto split = [&](const SplitText& part) {
    thinking += part.thinking;
    content += part.content;
    if (on_text) on_text(part);
  };
  bool shown = false;
  const auto show = [&](GeneratedToken token) {
    if (!shown) token.text.erase(0, token.text.find_first_not_of(" \n"));
    shown = shown || !token.text.empty();
    const bool goes_on = !on_token || on_token(token);
    split(splitter.push(token.text));
    return goes_on;
  };
  // The last token is always computed: its logits begin the answer.
  answer.n_cached = size_t(std::ranges::mismatch(ids, cached_).in1 - ids.begin());
  answer.n_cached = std::min(answer.n_cached, ids.size() - 1);
  answer.n_cached = context.go_back(answer.n_cached);
  cached_.resize(answer.n_cached);
  answer.generated = generate(context, std::span(ids).subspan(answer.n_cached), ended, show);
  if (answer.generated.ids.empty() && answer.generated.stop_reason == StopReason::kInterrupted)
    fail(ErrorKind::kInterrupted, "stopped before the answer began");
  split(splitter.finish());
  cached_ = ids;
  cached_.insert(cached_.end(), answer.generated.ids.begin(), answer.generated.ids.end());
  cached_.resize(context.n_tokens());
  answer.generated.text.erase(0, answer.generated.text.find_first_not_of(" \n"));
  messages_.push_back(message("assistant", content));
  if (!thinking.empty()) messages_.back()["reasoning_content"] = thinking;
  return answer;
}

}  // namespace hunch
