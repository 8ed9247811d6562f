// Several answers at once, in shared passes over the weights.
//
// Example:
//   hunch::LanguageModel model("model.gguf");
//   hunch::GenerationBatch batch(model, {.n_sequences = 2});
//   hunch::GenerationOptions greedy, sparse;
//   greedy.temperature = 0;
//   sparse.plan = hunch::PlanChoice{.name = "sparse"};  // answers may differ in everything
//   const std::size_t first = batch.add("Once upon a time", greedy);
//   const std::size_t second = batch.add("The cat", sparse);
//   while (batch.step()) {
//   }
//   std::cout << batch.result(first).text << '\n' << batch.result(second).text << '\n';
//
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "hunch/generate.h"

namespace hunch {

struct GenerationBatchOptions {
  std::size_t n_sequences = 8;  // answers that may be in the making at once
  std::size_t n_ctx = 0;        // most tokens of one of them; 0: the model's own (LoadOptions::n_ctx)
  std::size_t n_tokens = 0;     // that the cache holds of all together; 0: n_sequences * n_ctx
};

// An answer does not depend on its neighbours, to rounding, or to the bit with GenerationOptions::as_alone. One call at
// a time for all that belongs to a model. Keeps its model loaded.
class GenerationBatch {
 public:
  // Throws Error{kMemory} where the cache does not fit, Error{kLimit} for more tokens than the model has positions.
  explicit GenerationBatch(LanguageModel& model, const GenerationBatchOptions& options = {});
  ~GenerationBatch();
  GenerationBatch(GenerationBatch&&) noexcept;
  GenerationBatch& operator=(GenerationBatch&&) noexcept;

  // Asks for an answer, which takes part from the next step on; also between steps of others. Returns its number.
  // Drafts are verified in the shared steps. Throws Error{kLimit} where there is no room now (later there may be); else
  // as generate().
  std::size_t add(std::string_view prompt, const GenerationOptions& options = {}, OnText on_text = {});
  std::size_t add(std::span<const std::int32_t> prompt_ids, const GenerationOptions& options = {}, OnText on_text = {});
  // Computes a part of the prompts and the next token of each answer. False when nothing is left to do. What is wrong
  // with one answer ends that one.
  bool step();
  bool is_done(std::size_t answer) const;
  // A done answer. Throws the error that ended it, Error{kUsage} for one that is not done or not known.
  const Generation& result(std::size_t answer) const;
  // Forgets an answer, and ends it where it is not done.
  void remove(std::size_t answer);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hunch
