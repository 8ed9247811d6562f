// What answers of OpenAI's completions and chat completions have in common: the envelope around choices.
#pragma once
#include "serve/answer_writer.h"
#include "serve/layer_uses.h"
#include "text/tokenizer.h"

namespace hunch::serve {

class OpenAiAnswer : public AnswerWriter {
 public:
  struct About {
    std::string id, model;  // "cmpl-...", the name that answers carry
    int64_t created = 0;    // seconds since 1970
    bool stream = false, include_usage = false, log_probs = false;
    size_t n_choices = 1;            // jobs
    size_t n_choices_of_prompt = 1;  // that share a prompt
    size_t n_best_of_prompt = 1;     // of these the whole answer has
  };
  // The tokenizer outlives it.
  OpenAiAnswer(About about, const Tokenizer& tokenizer, std::shared_ptr<Reply> reply);

 protected:
  virtual const char* object(bool chunk) const = 0;
  // The choices of a whole answer.
  virtual Json choices() = 0;

  bool wants_log_probs() const { return about_.log_probs; }
  size_t n_choices() const { return about_.n_choices; }
  size_t n_of_prompt() const { return about_.n_choices_of_prompt; }
  size_t n_best_of_prompt() const { return about_.n_best_of_prompt; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  // An event with one choice, and what its tokens used of the model where that was asked for.
  void emit(Json choice);
  static const char* finish_reason(StopReason reason);

 private:
  void see(size_t choice, const GeneratedToken& token) override { uses_.add(choice, token.layers); }
  void end() override;
  Json envelope(bool chunk) const;

  const About about_;
  const Tokenizer& tokenizer_;
  TokenUses uses_;
};

// The text of one token as the APIs show it, and its bytes; a part of a character is "bytes:\xe2\x82".
std::string shown_token(const Tokenizer& tokenizer, int32_t id);
Json bytes_of(const Tokenizer& tokenizer, int32_t id);
// JSON has no infinity: as OpenAI, -9999 stands for it.
double shown_log_prob(float log_prob);

}  // namespace hunch::serve
