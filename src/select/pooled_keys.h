// Attention to a text's far keys as a fixed number of their means.
#pragma once
#include "select/split_keys.h"

namespace hunch {

struct PooledOptions {
  size_t budget = 0;   // rows that stand for all far keys
  size_t recent = 64;  // last keys, which are weighed exactly, in the same softmax
};

// n far keys and values become at most `budget` rows, the means of c neighbours each, c a power of two that grows with
// the text; while the text is short, c is 1 and nothing is lost. A row weighs as c keys like it.
//
// Source: Wang et al. 2020, "Linformer" (arXiv:2006.04768), section 4: keys and values projected along the text to a
// fixed number of rows, among other ways by mean pooling. Learned projections see what comes after a token, and no
// causal model has them; means of what is past it can have, and a mean in place of a sum is made up for by its weight.
class PooledKeys final : public KeySelector {
 public:
  PooledKeys(const PooledOptions& options, const FormOptions& form) : options_(options), form_(form) {}
  std::string_view kind() const override { return "linformer"; }
  std::unique_ptr<SelectorState> new_state() const override;
  bool attends() const override { return true; }
  bool heads_apart() const override { return true; }
  bool attends_prompts() const override { return form_.of_prompts; }
  size_t most_slots() const override { return SIZE_MAX; }

 private:
  class State;
  PooledOptions options_;
  FormOptions form_;
};

}  // namespace hunch
