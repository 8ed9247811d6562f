#include "serve/completion_answer.h"

#include <algorithm>
#include <numeric>

namespace hunch::serve {
namespace {

size_t n_characters(std::string_view text) {
  return size_t(std::ranges::count_if(text, [](char c) { return (uint8_t(c) & 0xc0) != 0x80; }));
}

}  // namespace

CompletionAnswer::CompletionAnswer(About about, const Tokenizer& tokenizer, std::shared_ptr<Reply> reply,
                                   std::vector<Echo> echoes)
    : OpenAiAnswer(std::move(about), tokenizer, std::move(reply)) {
  for (Echo& echo : echoes) {
    choices_.push_back({std::move(echo)});
    choices_.back().log_probs = empty_log_probs();
  }
}

Json CompletionAnswer::empty_log_probs() const {
  if (!wants_log_probs()) return nullptr;
  return {{"tokens", Json::array()},
          {"token_logprobs", Json::array()},
          {"top_logprobs", Json::array()},
          {"text_offset", Json::array()}};
}

void CompletionAnswer::note(Choice& choice, int32_t id, std::optional<float> log_prob,
                            const std::vector<TokenProbability>& top) {
  if (!wants_log_probs()) return;
  const std::string text = shown_token(tokenizer(), id);
  choice.log_probs["tokens"].push_back(text);
  choice.log_probs["token_logprobs"].push_back(log_prob ? Json(shown_log_prob(*log_prob)) : Json(nullptr));
  Json alternatives = nullptr;
  if (log_prob && !top.empty()) {
    alternatives = Json::object();
    for (const TokenProbability& t : top) {  // the first of two tokens with one text is the more probable
      const std::string name = shown_token(tokenizer(), t.id);
      if (!alternatives.contains(name)) alternatives[name] = shown_log_prob(t.log_prob);
    }
  }
  choice.log_probs["top_logprobs"].push_back(std::move(alternatives));
  choice.log_probs["text_offset"].push_back(choice.offset);
  choice.offset += n_characters(text);
}

void CompletionAnswer::echo(size_t index) {
  Choice& choice = choices_[index];
  if (choice.echoed) return;
  choice.echoed = true;
  choice.text += choice.echo.text;
  if (choice.echo.first) note(choice, *choice.echo.first, std::nullopt, {});
}

void CompletionAnswer::take_prompt(size_t index, const std::vector<ScoredToken>& tokens) {
  echo(index);
  for (const ScoredToken& token : tokens) note(choices_[index], token.id, token.log_prob, token.top);
}

void CompletionAnswer::take(size_t index, const GeneratedToken& token, bool ends) {
  echo(index);
  Choice& choice = choices_[index];
  choice.text += token.text;
  if (!ends) {
    note(choice, token.id, token.log_prob, token.top);
    choice.log_prob += token.log_prob;
    ++choice.n_tokens;
  }
  if (streams() && (!choice.text.empty() || wants_log_probs())) send(index, nullptr);
}

void CompletionAnswer::finish(size_t index, const JobResult& result) {
  echo(index);
  // Who has a prompt scored takes the last entry for the token that was generated, and the others for the prompt's.
  if (const auto& end = result.generated.end_token; end && choices_[index].echo.first)
    note(choices_[index], end->id, end->log_prob, end->top);
  choices_[index].stop_reason = result.generated.stop_reason;
  if (streams()) send(index, finish_reason(result.generated.stop_reason));
}

Json CompletionAnswer::json_of(size_t index, Json finish_reason) {
  Choice& choice = choices_[index];
  return {{"text", std::move(choice.text)},
          {"index", index},
          {"logprobs", std::move(choice.log_probs)},
          {"finish_reason", std::move(finish_reason)}};
}

void CompletionAnswer::send(size_t index, Json finish_reason) {
  emit(json_of(index, std::move(finish_reason)));
  choices_[index].text.clear();
  choices_[index].log_probs = empty_log_probs();
}

Json CompletionAnswer::choices() {
  Json out = Json::array();
  std::vector<size_t> order(n_of_prompt());
  for (size_t first = 0; first < choices_.size(); first += order.size()) {
    std::iota(order.begin(), order.end(), first);
    // As OpenAI's best_of: the most probable by token.
    if (n_best_of_prompt() < order.size())
      std::ranges::stable_sort(order, std::ranges::greater(), [&](size_t i) { return choices_[i].mean_log_prob(); });
    for (size_t i = 0; i < n_best_of_prompt(); ++i) {
      Json json = json_of(order[i], finish_reason(choices_[order[i]].stop_reason));
      json["index"] = out.size();
      out.push_back(std::move(json));
    }
  }
  return out;
}

}  // namespace hunch::serve
