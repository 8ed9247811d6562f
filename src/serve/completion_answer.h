// The answer to POST /v1/completions.
#pragma once
#include "serve/openai_answer.h"

namespace hunch::serve {

class CompletionAnswer : public OpenAiAnswer {
 public:
  struct Echo {
    std::string text;              // of the prompt; "" without echo
    std::optional<int32_t> first;  // its first token, where log-probabilities of the prompt are told
  };
  // `echoes`: one per choice.
  CompletionAnswer(About about, const Tokenizer& tokenizer, std::shared_ptr<Reply> reply, std::vector<Echo> echoes);

 private:
  struct Choice {
    Echo echo;
    bool echoed = false;
    std::string text;
    Json log_probs;
    size_t offset = 0;    // of the next token in the text, characters
    double log_prob = 0;  // of its own tokens, added up
    size_t n_tokens = 0;
    double mean_log_prob() const { return n_tokens ? log_prob / double(n_tokens) : 0; }
    StopReason stop_reason = StopReason::kLength;
  };
  void take_prompt(size_t choice, const std::vector<ScoredToken>& tokens) override;
  void take(size_t choice, const GeneratedToken& token, bool ends) override;
  void finish(size_t choice, const JobResult& result) override;
  const char* object(bool) const override { return "text_completion"; }
  Json choices() override;

  Json empty_log_probs() const;
  void note(Choice& choice, int32_t id, std::optional<float> log_prob, const std::vector<TokenProbability>& top);
  void echo(size_t choice);
  Json json_of(size_t index, Json finish_reason);
  void send(size_t choice, Json finish_reason);

  std::vector<Choice> choices_;
};

}  // namespace hunch::serve
