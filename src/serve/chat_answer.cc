#include "serve/chat_answer.h"

namespace hunch::serve {

ChatAnswer::ChatAnswer(About about, const Tokenizer& tokenizer, std::shared_ptr<Reply> reply, const ThinkingTags& tags,
                       bool inside)
    : AnswerWriter(std::move(about), tokenizer, std::move(reply)) {
  for (size_t i = 0; i < n_choices(); ++i) choices_.push_back({ThinkingSplitter(tags, inside)});
}

void ChatAnswer::begin_stream() {
  for (size_t i = 0; i < choices_.size(); ++i)
    emit({{"index", i}, {"delta", {{"role", "assistant"}, {"content", ""}}}, {"finish_reason", nullptr}});
}

void ChatAnswer::add(SplitText& text, const SplitText& part) {
  text.thinking += part.thinking;
  text.content += part.content;
}

Json ChatAnswer::log_probs_of(Choice& choice) const {
  if (!wants_log_probs()) return nullptr;
  return {{"content", std::exchange(choice.log_probs, Json::array())}};
}

void ChatAnswer::take(size_t index, const GeneratedToken& token, bool ends) {
  Choice& choice = choices_[index];
  if (wants_log_probs() && !ends) {
    const auto entry = [&](int32_t id, float log_prob) -> Json {
      return {{"token", shown_token(tokenizer(), id)},
              {"logprob", shown_log_prob(log_prob)},
              {"bytes", bytes_of(tokenizer(), id)}};
    };
    Json one = entry(token.id, token.log_prob);
    one["top_logprobs"] = Json::array();
    for (const TokenProbability& t : token.top) one["top_logprobs"].push_back(entry(t.id, t.log_prob));
    choice.log_probs.push_back(std::move(one));
  }
  // Many vocabularies have white space before the first word, and templates add it again.
  std::string text = token.text;
  if (!choice.shown) text.erase(0, text.find_first_not_of(" \n"));
  choice.shown = choice.shown || !text.empty();
  const SplitText part = choice.splitter.push(text);
  add(choice.text, part);
  if (streams() && (!part.thinking.empty() || !part.content.empty())) send(index, part);
}

void ChatAnswer::send(size_t index, const SplitText& part) {
  Json delta = Json::object();
  if (!part.thinking.empty()) delta["reasoning_content"] = part.thinking;
  if (!part.content.empty()) delta["content"] = part.content;
  Json json = {{"index", index}, {"delta", std::move(delta)}};
  if (wants_log_probs()) json["logprobs"] = log_probs_of(choices_[index]);
  json["finish_reason"] = nullptr;
  emit(std::move(json));
}

void ChatAnswer::finish(size_t index, const JobResult& result) {
  Choice& choice = choices_[index];
  choice.stop_reason = result.generated.stop_reason;
  const SplitText rest = choice.splitter.finish();
  add(choice.text, rest);
  if (!streams()) return;
  if (!rest.thinking.empty() || !rest.content.empty()) send(index, rest);
  Json json = {{"index", index}, {"delta", Json::object()}};
  if (wants_log_probs()) json["logprobs"] = log_probs_of(choice);
  json["finish_reason"] = finish_reason(choice.stop_reason);
  emit(std::move(json));
}

Json ChatAnswer::choices() {
  Json out = Json::array();
  for (size_t i = 0; i < choices_.size(); ++i) {
    Choice& choice = choices_[i];
    Json message = {{"role", "assistant"}, {"content", choice.text.content}};
    if (!choice.text.thinking.empty()) message["reasoning_content"] = choice.text.thinking;
    out.push_back({{"index", i},
                   {"message", std::move(message)},
                   {"logprobs", log_probs_of(choice)},
                   {"finish_reason", finish_reason(choice.stop_reason)}});
  }
  return out;
}

}  // namespace hunch::serve
