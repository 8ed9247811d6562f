// Sequences that share steps: prompts and decoding of requests that differ in plan, adapter and phase.
// Continuous batching (Yu et al. 2022, "Orca", section 3.1) with prompts in chunks (Agrawal et al. 2023, "SARATHI").
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/sequence.h"

namespace hunch {

class Answer;
struct GenerateOptions;
struct GeneratedToken;

struct BatchOptions {
  size_t n_tokens = 0;           // that the cache holds, of all sequences together; 0: one context
  KvType kv_type = DType::kF32;  // kF32 is exact; kF16 halves the cache and rounds
  // Sequences that may decode at once: row costs are measured for so many, where a plan leaves rows out.
  size_t n_sequences = 1;
  // A step takes as much of the prompts as leaves it at so many tokens (but some of them always, and more where a
  // prompt may not be cut there: Sequence::chunk_tokens). What decodes does so in every step.
  size_t step_tokens = 512;
};

// What one sequence wants of a step.
struct SequenceRun {
  Sequence* sequence = nullptr;
  std::span<const int32_t> ids = {};
  Phase phase = Phase::kPrompt;
  size_t n_logits = 0;                       // of its last tokens
  bool as_alone = false, only_best = false;  // as in Run
  size_t n_text = 0;                         // of the text that this is a part of, where more of it is known
  size_t second_begins = SIZE_MAX;           // as in Run
  size_t n_best = 0;                         // as in Run
  RunTrace* trace = nullptr;                 // as in Run
};

// One caller at a time. The engine outlives it.
class Batch {
 public:
  // Memory is checked before it is reserved: Error{kMemory} names what is needed and available.
  Batch(const Engine& engine, const BatchOptions& options);
  // Its own steps on the cache of another one: for who drafts into a sequence.
  Batch(const Engine& engine, std::shared_ptr<KvCache> cache);
  ~Batch();

  // An empty sequence in this cache. Throws as Sequence; measures row costs where that was not done yet.
  std::unique_ptr<Sequence> new_sequence(const SequenceOptions& options);

  // One step over several sequences, each at most once. Returns the logits of all, one after the other,
  // [sum of n_logits, n_vocab], valid until the next step. Throws as Transformer::run; the sequences are then
  // unchanged.
  MatView<const float> compute(std::span<const SequenceRun> runs);

  // Requests an answer that continues `prompt` at the end of the sequence, which belongs to no other answer and
  // outlives this one. From the next step on it takes part, until it is done or removed. Throws Error{kLimit} where the
  // prompt does not fit into the sequence or into what the cache has left, Error{kUsage} for options out of range or
  // ids outside the vocabulary.
  std::shared_ptr<Answer> admit(Sequence& sequence, std::vector<int32_t> prompt, const GenerateOptions& options,
                                std::function<bool(const GeneratedToken&)> on_token = {});
  // Ends the answer's part in this. What it has is kept.
  void remove(const Answer& answer);
  // It takes part again, from the next step on; the caller knows that there is room.
  void resume(std::shared_ptr<Answer> answer);
  // Pages that the next step of all answers needs, with all of their prompts; who is left without ends with an error.
  size_t n_pages_due() const;

  // Computes one step: the next token, or a draft, of each answer that decodes, and prompts of the others. What is
  // wrong with one answer (its callback throws, the cache has no page left for it) ends that one with its error, the
  // others go on. False when there is nothing to do. Throws Error{kInterrupted} when the engine is to stop; the answers
  // may then go on with another step. While something decodes, no more than `most_prompt` tokens of prompts (where
  // these may be cut).
  bool step(size_t most_prompt = SIZE_MAX);
  // Tokens of the last step: of those that decode, with their drafts, and of prompts.
  struct StepTokens {
    size_t n_decoding = 0, n_prompt = 0;
  };
  const StepTokens& last_step() const { return last_step_; }

  size_t n_answers() const { return answers_.size(); }
  size_t n_decoding() const;  // of these; the others read their prompts
  size_t n_free_tokens() const { return cache_->n_free_tokens(); }
  size_t kv_bytes() const { return cache_->bytes(); }
  const std::shared_ptr<KvCache>& cache() const { return cache_; }
  Transformer& transformer() { return transformer_; }
  const Transformer& transformer() const { return transformer_; }

 private:
  size_t n_pages(const Sequence& sequence, size_t n_more) const;
  bool collect(Answer& answer, size_t n_prompt);
  size_t collect_prompts(size_t n);
  void fail_waiting();
  void group_alike();
  void drop_done();

  const Engine& engine_;
  BatchOptions options_;
  std::shared_ptr<KvCache> cache_;
  Transformer transformer_;
  std::vector<std::shared_ptr<Answer>> answers_;  // in the order in which they came
  // Of the present step.
  std::vector<SequenceRun> wanted_;
  std::vector<Answer*> wanting_;  // whose each of them is
  std::vector<Answer*> reading_;
  StepTokens last_step_;
  size_t n_pages_left_ = 0;
  size_t n_pages_promised_ = 0;  // to prompts that were begun
  size_t n_pages_due_ = 0;       // to the next token of each that decodes
  std::vector<int32_t> ids_;
  std::vector<Run> runs_;
  std::vector<uint32_t> rows_;
};

}  // namespace hunch
