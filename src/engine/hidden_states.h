// What the model makes of texts before it predicts: their hidden states.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/progress.h"
#include "engine/engine.h"

namespace hunch {

struct TextToRead {
  std::vector<int32_t> ids;
  size_t second_begins = SIZE_MAX;  // Run::second_begins
};

struct ReadingOptions {
  KvType kv_type = DType::kF32;
  size_t n_ctx = 0;                             // most tokens of a text; 0: resolve_context()'s choice
  std::shared_ptr<const Adapter> adapter = {};  // none: the model as it is
  size_t step_tokens = 512;                     // texts share a step until it has so many
  Progress progress = {};                       // "texts", after each step
};

// Texts that are read a step at a time, between other work. Errors as of read_texts().
class TextReading {
 public:
  using Each = std::function<void(size_t, MatView<const float>)>;
  // The engine and the texts outlive it.
  TextReading(const Engine& engine, std::span<const TextToRead> texts, const ReadingOptions& options, Each each);
  ~TextReading();

  // Computes about n_tokens more (all of a text at once where its tokens see those after them). False when all are
  // read.
  bool step(size_t n_tokens);
  size_t n_read() const { return n_read_; }  // texts

 private:
  struct Group;
  void begin(size_t n_tokens);
  void finish();

  const Engine& engine_;
  const std::span<const TextToRead> texts_;
  const ReadingOptions options_;
  const Each each_;
  size_t n_read_ = 0;
  std::unique_ptr<Group> group_;  // texts that share steps, from n_read_ on
};

// each(i, states [n_tokens of text i, n_embd]) for every text, in their order: after the final norm, where the model
// has one. Read densely, as prompts are. The states live during the call. Throws Error{kLimit} naming the text that is
// longer than the context or than the model's learned positions, Error{kUsage} for one without tokens or with ids
// outside the vocabulary, Error{kInterrupted}, Error{kMemory}.
void read_texts(const Engine& engine, std::span<const TextToRead> texts, const ReadingOptions& options,
                const std::function<void(size_t, MatView<const float>)>& each);

}  // namespace hunch
