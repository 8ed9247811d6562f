// The neurons that a sequence's prompt chose for its continuation (GRIFFIN): the evidence, and their packed copies.
#pragma once
#include <span>
#include <vector>

#include "model/model.h"
#include "model/packed_mlp.h"
#include "model/sparse_plan.h"
#include "select/prompt_statistic.h"

namespace hunch {

// Belongs to one sequence, and is freed with it.
class PromptNeurons {
 public:
  // Tokens that a choice needs: after a shorter prompt everything is computed.
  static constexpr size_t kMinTokens = 16;

  explicit PromptNeurons(size_t n_layer) : statistics_(n_layer) {}

  // What a prompt's pass adds to; [n_layer].
  std::span<PromptStatistic> statistics() { return statistics_; }
  // After a pass that added to them: the sequence is now so long.
  void observed(size_t n_tokens) { n_observed_ = n_tokens; }
  // The sequence was cut. What its end had added cannot be taken back: a cut into what was observed is a reset().
  void truncated(size_t n_tokens);
  // Forgets what was observed; the next prompt chooses. The copies keep their memory.
  void reset();

  // The packed neurons of the layers that `plan` gives to GRIFFIN, chosen when more was observed since the last call;
  // nullptr while too little was. Valid until the next call. Throws Error{kMemory}.
  const PackedMlps* packed(const Model& model, const SparsePlan& plan, Compute& compute);

 private:
  std::vector<PromptStatistic> statistics_;
  size_t n_observed_ = 0;
  PackedMlps packed_;
  std::vector<size_t> packed_for_;  // what packed_ was made from: tokens observed and neurons kept, by layer
};

}  // namespace hunch
