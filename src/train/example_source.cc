#include "train/example_source.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {
namespace {

TokenBatch batch_of(std::span<const Example* const> examples) {
  size_t n_tokens = 0;
  for (const Example* e : examples) n_tokens = std::max(n_tokens, e->ids.size() - 1);
  TokenBatch batch{{examples.size(), n_tokens}, {}, {}};
  for (const Example* e : examples)
    for (size_t t = 0; t < n_tokens; ++t) {
      const bool counts = t + 1 >= e->n_prompt && t + 1 < e->ids.size();
      batch.ids.push_back(e->ids[std::min(t, e->ids.size() - 1)]);
      batch.targets.push_back(counts ? e->ids[t + 1] : TokenBatch::kNoTarget);
    }
  return batch;
}

void check_example(const Example& e, size_t number, size_t n_ctx) {
  if (e.n_prompt == 0 || e.n_prompt >= e.ids.size())
    fail(ErrorKind::kUsage, "example {} has {} tokens, {} of them its prompt's: expected a prompt and an answer",
         number, e.ids.size(), e.n_prompt);
  if (e.ids.size() > n_ctx + 1)
    fail(ErrorKind::kUsage, "example {} has {} tokens; a window of {} (n_ctx) takes {}", number, e.ids.size(), n_ctx,
         n_ctx + 1);
}

TokenBatch batch_of(std::span<const Question* const> questions) {
  std::vector<const Example*> all;
  std::vector<ChoiceGroup> groups;
  for (const Question* q : questions) {
    groups.push_back({all.size(), q->choices.size(), q->gold});
    for (const Example& choice : q->choices) all.push_back(&choice);
  }
  TokenBatch batch = batch_of(all);
  batch.questions = std::move(groups);
  return batch;
}

}  // namespace

QuestionSource::QuestionSource(std::vector<Question> questions, size_t n_ctx, uint64_t seed)
    : questions_(std::move(questions)), seed_(seed) {
  if (questions_.empty()) fail(ErrorKind::kUsage, "no question to train on");
  for (size_t i = 0; i < questions_.size(); ++i) {
    const Question& q = questions_[i];
    if (q.choices.size() < 2 || q.gold >= q.choices.size())
      fail(ErrorKind::kUsage, "question {} has {} choices, number {} is right: expected at least two, and one of them",
           i + 1, q.choices.size(), q.gold + 1);
    for (const Example& choice : q.choices) check_example(choice, i + 1, n_ctx);
  }
}

size_t QuestionSource::n_sequences() const {
  size_t n = 0;
  for (const Question& q : questions_) n = std::max(n, q.choices.size());
  return n;
}

TokenBatch QuestionSource::batch(uint64_t first, size_t n) {
  std::vector<const Question*> chosen;
  for (uint64_t w = first; w < first + n; ++w) {
    if (const uint64_t pass = w / questions_.size(); pass != pass_) {
      pass_ = pass;
      order_ = shuffled(questions_.size(), seed_, pass);
    }
    chosen.push_back(&questions_[order_[w % questions_.size()]]);
  }
  return batch_of(chosen);
}

std::vector<TokenBatch> questions_in_order(std::span<const Question> questions, size_t n) {
  std::vector<TokenBatch> batches;
  for (size_t begin = 0; begin < questions.size(); begin += n) {
    std::vector<const Question*> chosen;
    for (const Question& q : questions.subspan(begin, std::min(n, questions.size() - begin))) chosen.push_back(&q);
    batches.push_back(batch_of(chosen));
  }
  return batches;
}

size_t longest_example(std::span<const Example> examples) {
  size_t n = 0;
  for (const Example& e : examples) n = std::max(n, e.ids.size());
  return n > 0 ? n - 1 : 0;
}

ExampleSource::ExampleSource(std::vector<Example> examples, size_t n_ctx, uint64_t seed)
    : examples_(std::move(examples)), seed_(seed) {
  if (examples_.empty()) fail(ErrorKind::kUsage, "no example to train on");
  for (size_t i = 0; i < examples_.size(); ++i) check_example(examples_[i], i + 1, n_ctx);
}

TokenBatch ExampleSource::batch(uint64_t first, size_t n) {
  std::vector<const Example*> chosen;
  for (uint64_t w = first; w < first + n; ++w) {
    if (const uint64_t pass = w / examples_.size(); pass != pass_) {
      pass_ = pass;
      order_ = shuffled(examples_.size(), seed_, pass);
    }
    chosen.push_back(&examples_[order_[w % examples_.size()]]);
  }
  return batch_of(chosen);
}

std::vector<TokenBatch> examples_in_order(std::span<const Example> examples, size_t n) {
  std::vector<TokenBatch> batches;
  for (size_t begin = 0; begin < examples.size(); begin += n) {
    std::vector<const Example*> chosen;
    for (const Example& e : examples.subspan(begin, std::min(n, examples.size() - begin))) chosen.push_back(&e);
    batches.push_back(batch_of(chosen));
  }
  return batches;
}

}  // namespace hunch
