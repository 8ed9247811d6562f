#include "serve/chat_answer.h"

namespace hunch::serve {

ChatAnswer::ChatAnswer(About about, const Tokenizer& tokenizer, std::shared_ptr<Reply> reply,
                       const MakeSplitter& splitter)
    : OpenAiAnswer(std::move(about), tokenizer, std::move(reply)) {
  for (size_t i = 0; i < n_choices(); ++i) choices_.push_back({splitter()});
}

// Calls are what an answer ended for, unless it was cut.
const char* ChatAnswer::reason_of(const Choice& choice) {
  const char* reason = finish_reason(choice.stop_reason);
  return choice.message.calls.empty() || reason != std::string_view("stop") ? reason : "tool_calls";
}

void ChatAnswer::begin_stream() {
  for (size_t i = 0; i < choices_.size(); ++i)
    emit({{"index", i}, {"delta", {{"role", "assistant"}, {"content", ""}}}, {"finish_reason", nullptr}});
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
  add(index, choice.splitter.push(token.text));
}

void ChatAnswer::add(size_t index, const std::vector<ChatPart>& parts) {
  if (parts.empty()) return;
  Choice& choice = choices_[index];
  ChatMessage delta_of;
  Json calls = Json::array();
  for (const ChatPart& part : parts) {
    choice.message.add(part);
    if (part.kind == ChatPart::Kind::kCall) {
      calls.push_back({{"index", choice.message.calls.size() - 1},
                       {"id", part.id},
                       {"type", "function"},
                       {"function", {{"name", part.name}, {"arguments", ""}}}});
    } else if (part.kind == ChatPart::Kind::kArguments) {
      const size_t n = choice.message.calls.size() - 1;
      if (calls.empty()) calls.push_back({{"index", n}, {"function", {{"arguments", ""}}}});
      Json& arguments = calls.back()["function"]["arguments"];
      arguments = arguments.get<std::string>() + part.text;
    } else {
      delta_of.add(part);
    }
  }
  if (!streams()) return;
  Json delta = Json::object();
  if (!delta_of.thinking.empty()) delta["reasoning_content"] = delta_of.thinking;
  if (!delta_of.content.empty()) delta["content"] = delta_of.content;
  if (!calls.empty()) delta["tool_calls"] = std::move(calls);
  Json json = {{"index", index}, {"delta", std::move(delta)}};
  if (wants_log_probs()) json["logprobs"] = log_probs_of(choice);
  json["finish_reason"] = nullptr;
  emit(std::move(json));
}

void ChatAnswer::finish(size_t index, const JobResult& result) {
  Choice& choice = choices_[index];
  choice.stop_reason = result.generated.stop_reason;
  add(index, choice.splitter.finish());
  if (!streams()) return;
  Json json = {{"index", index}, {"delta", Json::object()}};
  if (wants_log_probs()) json["logprobs"] = log_probs_of(choice);
  json["finish_reason"] = reason_of(choice);
  emit(std::move(json));
}

Json ChatAnswer::choices() {
  Json out = Json::array();
  for (size_t i = 0; i < choices_.size(); ++i) {
    Choice& choice = choices_[i];
    Json message = {{"role", "assistant"}, {"content", choice.message.content}};
    if (!choice.message.thinking.empty()) message["reasoning_content"] = choice.message.thinking;
    if (!choice.message.calls.empty()) {
      if (choice.message.content.empty()) message["content"] = nullptr;
      message["tool_calls"] = Json::array();
      for (const ChatMessage::Call& call : choice.message.calls)
        message["tool_calls"].push_back({{"id", call.id},
                                         {"type", "function"},
                                         {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    }
    out.push_back({{"index", i},
                   {"message", std::move(message)},
                   {"logprobs", log_probs_of(choice)},
                   {"finish_reason", reason_of(choice)}});
  }
  return out;
}

}  // namespace hunch::serve
