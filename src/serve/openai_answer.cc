#include "serve/openai_answer.h"

#include <cmath>

#include "serve/sse.h"
#include "text/utf8.h"

namespace hunch::serve {

OpenAiAnswer::OpenAiAnswer(About about, const Tokenizer& tokenizer, std::shared_ptr<Reply> reply)
    : AnswerWriter(std::move(reply), Dialect::kOpenAi, about.stream, about.n_choices_of_prompt),
      about_(std::move(about)),
      tokenizer_(tokenizer),
      uses_(about_.n_choices) {}

Json OpenAiAnswer::envelope(bool chunk) const {
  return {{"id", about_.id}, {"object", object(chunk)}, {"created", about_.created}, {"model", about_.model}};
}

void OpenAiAnswer::emit(Json choice) {
  uses_.tell(choice["index"].get<size_t>(), choice);
  Json event = envelope(true);
  event["choices"] = Json::array({std::move(choice)});
  if (about_.include_usage) event["usage"] = nullptr;
  write(sse_event(event));
}

void OpenAiAnswer::end() {
  Json json = envelope(streams());
  json["choices"] = streams() ? Json::array() : choices();
  json["usage"] = {{"prompt_tokens", usage().n_prompt},
                   {"completion_tokens", usage().n_generated},
                   {"total_tokens", usage().n_prompt + usage().n_generated},
                   {"prompt_tokens_details", {{"cached_tokens", usage().n_cached}}}};
  if (!streams()) return send(json);
  if (about_.include_usage) write(sse_event(json));
  write(sse_done());
}

const char* OpenAiAnswer::finish_reason(StopReason reason) {
  return reason == StopReason::kEndOfText || reason == StopReason::kStopString ? "stop" : "length";
}

std::string shown_token(const Tokenizer& tokenizer, int32_t id) {
  if (size_t(id) >= tokenizer.n_vocab()) return fmt::format("token_id:{}", id);
  const std::string_view piece = tokenizer.piece(id);
  if (valid_utf8_prefix(piece) == piece.size()) return std::string(piece);
  std::string out = "bytes:";
  for (const char c : piece) out += fmt::format("\\x{:02x}", uint8_t(c));
  return out;
}

Json bytes_of(const Tokenizer& tokenizer, int32_t id) {
  Json out = Json::array();
  if (size_t(id) < tokenizer.n_vocab())
    for (const char c : tokenizer.piece(id)) out.push_back(uint8_t(c));
  return out;
}

double shown_log_prob(float log_prob) { return std::isfinite(log_prob) ? double(log_prob) : -9999.0; }

}  // namespace hunch::serve
