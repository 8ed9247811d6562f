// The answer to POST /completion, llama.cpp's own: an object, a list of them, or the events of a stream, the last of
// which has all but the text.
#pragma once
#include "serve/answer_writer.h"
#include "text/tokenizer.h"

namespace hunch::serve {

class NativeAnswer : public AnswerWriter {
 public:
  struct About {
    std::string model;
    bool stream = false, is_list = false, with_tokens = false, with_probabilities = false;
    Json settings;                     // as the request said them
    std::vector<std::string> prompts;  // texts, one per job
    std::vector<size_t> n_prompt;      // their tokens
  };
  NativeAnswer(About about, const Tokenizer& tokenizer, std::shared_ptr<Reply> reply)
      : AnswerWriter(std::move(reply), Dialect::kOpenAi, about.stream),
        about_(std::move(about)),
        tokenizer_(tokenizer),
        choices_(about_.prompts.size()) {}

 private:
  struct Choice {
    std::string text;
    std::vector<int32_t> ids;
    Json probabilities = Json::array();
    size_t n_cached = 0;
    bool has_new_line = false;
    JobResult result = {};
  };
  void note_begun(size_t choice, size_t n_cached) override { choices_[choice].n_cached = n_cached; }
  void take(size_t choice, const GeneratedToken& token, bool ends) override;
  void finish(size_t choice, const JobResult& result) override;
  void end() override;
  Json whole(size_t choice) const;
  Json probability_of(const GeneratedToken& token) const;

  const About about_;
  const Tokenizer& tokenizer_;
  std::vector<Choice> choices_;
};

}  // namespace hunch::serve
