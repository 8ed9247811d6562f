#include "serve/native_answer.h"

#include <algorithm>

#include "serve/openai_answer.h"
#include "serve/sse.h"

namespace hunch::serve {
namespace {

const char* stop_type(StopReason reason) {
  switch (reason) {
    case StopReason::kEndOfText: return "eos";
    case StopReason::kStopString: return "word";
    case StopReason::kInterrupted: return "none";
    default: return "limit";
  }
}

Json timings(const Generated& g, size_t n_cached) {
  const auto per = [](double a, double b) { return b > 0 ? a / b : 0.0; };
  const size_t n_read = g.n_prompt - std::min(n_cached, g.n_prompt), n = g.ids.size();
  return {{"cache_n", n_cached},
          {"prompt_n", n_read},
          {"prompt_ms", 1e3 * g.prompt_seconds},
          {"prompt_per_token_ms", per(1e3 * g.prompt_seconds, double(n_read))},
          {"prompt_per_second", per(double(n_read), g.prompt_seconds)},
          {"predicted_n", n},
          {"predicted_ms", 1e3 * g.seconds},
          {"predicted_per_token_ms", per(1e3 * g.seconds, double(n))},
          {"predicted_per_second", per(double(n), g.seconds)}};
}

}  // namespace

Json NativeAnswer::probability_of(const GeneratedToken& token) const {
  const auto entry = [&](int32_t id, float log_prob) -> Json {
    return {{"id", id},
            {"token", shown_token(tokenizer_, id)},
            {"bytes", bytes_of(tokenizer_, id)},
            {"logprob", shown_log_prob(log_prob)}};
  };
  Json json = entry(token.id, token.log_prob);
  json["top_logprobs"] = Json::array();
  for (const TokenProbability& t : token.top) json["top_logprobs"].push_back(entry(t.id, t.log_prob));
  return json;
}

void NativeAnswer::take(size_t index, const GeneratedToken& token, bool ends) {
  Choice& choice = choices_[index];
  choice.has_new_line = choice.has_new_line || token.text.find('\n') != token.text.npos;
  choice.text += token.text;
  if (!ends) {
    choice.ids.push_back(token.id);
    if (about_.with_probabilities) choice.probabilities.push_back(probability_of(token));
  }
  if (!streams()) return;
  Json json = {{"index", index},
               {"content", token.text},
               {"tokens", ends ? Json::array() : Json::array({token.id})},
               {"stop", false},
               {"id_slot", -1},
               {"tokens_predicted", choice.ids.size()},
               {"tokens_evaluated", about_.n_prompt[index]}};
  if (about_.with_probabilities) json["completion_probabilities"] = std::exchange(choice.probabilities, Json::array());
  write(sse_event(json));
}

void NativeAnswer::finish(size_t index, const JobResult& result) {
  choices_[index].result = result;
  if (streams()) write(sse_event(whole(index)));
}

Json NativeAnswer::whole(size_t index) const {
  const Choice& choice = choices_[index];
  const Generated& g = choice.result.generated;
  Json json = {{"index", index},
               {"content", streams() ? "" : choice.text},
               {"tokens", about_.with_tokens && !streams() ? Json(choice.ids) : Json::array()},
               {"id_slot", -1},
               {"stop", true},
               {"model", about_.model},
               {"tokens_predicted", g.ids.size()},
               {"tokens_evaluated", about_.n_prompt[index]},
               {"generation_settings", about_.settings},
               {"prompt", about_.prompts[index]},
               {"has_new_line", choice.has_new_line},
               {"truncated", g.stop_reason == StopReason::kContextFull},
               {"stop_type", stop_type(g.stop_reason)},
               {"stopping_word", g.stop_string},
               {"tokens_cached", choice.n_cached},
               {"timings", timings(g, choice.n_cached)}};
  if (about_.with_probabilities && !streams()) json["completion_probabilities"] = choice.probabilities;
  return json;
}

void NativeAnswer::end() {
  if (streams()) return;
  if (!about_.is_list) return send(whole(0));
  Json all = Json::array();
  for (size_t i = 0; i < choices_.size(); ++i) all.push_back(whole(i));
  send(all);
}

}  // namespace hunch::serve
