// Examples as batches: a prompt that is given, and an answer that is learned.
#pragma once
#include <span>
#include <vector>

#include "train/token_source.h"

namespace hunch {

struct Example {
  std::vector<int32_t> ids;
  size_t n_prompt = 1;  // of ids, at least 1; the loss is of the others, at least one
};

// A prompt and several answers, or several prompts, of which one is right.
struct Question {
  std::vector<Example> choices;  // at least two
  size_t gold = 0;
};

class ExampleSource final : public BatchSource {
 public:
  // Throws Error{kUsage} for no example, for one without a prompt or an answer, and for one longer than n_ctx.
  ExampleSource(std::vector<Example> examples, size_t n_ctx, uint64_t seed);

  size_t n_windows() const override { return examples_.size(); }
  // Every pass has all examples, in an order of its own. Shorter ones end with tokens whose prediction does not count.
  TokenBatch batch(uint64_t first, size_t n) override;

 private:
  std::vector<Example> examples_;
  uint64_t seed_, pass_ = UINT64_MAX;
  std::vector<uint32_t> order_;  // of the present pass
};

// Windows are questions, each with all of its choices: TokenBatch::questions.
class QuestionSource final : public BatchSource {
 public:
  // Throws as ExampleSource, and for a question with fewer than two choices.
  QuestionSource(std::vector<Question> questions, size_t n_ctx, uint64_t seed);

  size_t n_windows() const override { return questions_.size(); }
  size_t n_sequences() const override;
  TokenBatch batch(uint64_t first, size_t n) override;

 private:
  std::vector<Question> questions_;
  uint64_t seed_, pass_ = UINT64_MAX;
  std::vector<uint32_t> order_;
};

// All questions in order, n of them at a time.
std::vector<TokenBatch> questions_in_order(std::span<const Question> questions, size_t n);

// The longest example, in tokens that are read: its last one is only predicted.
size_t longest_example(std::span<const Example> examples);
// All examples in order, n of them at a time.
std::vector<TokenBatch> examples_in_order(std::span<const Example> examples, size_t n);

}  // namespace hunch
