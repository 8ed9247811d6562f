// KVzip: those of a text's tokens stay that saying the text once more looks at, whatever will be asked of it.
#pragma once
#include "select/key_selector.h"

namespace hunch {

struct RereadKeysOptions {
  size_t budget = 0;   // tokens of a KV head that stay of a text; mean over heads
  size_t sinks = 4;    // first tokens, which stay
  size_t chunk = 512;  // tokens that are computed once more at a time
  double floor = 0.2;  // as PromptKeysOptions::floor
};

// When a prompt has ended, the text is computed once more behind itself, chunk by chunk, each led in by the last tokens
// before it; a key's score is the largest weight that a query of these gave it, in any head that shares it. The keys
// with the largest stay. The paper puts the words "repeat the previous context" before the chunks and shares budgets
// out over layers too; here are no words, and layers keep alike. Source: Kim et al. 2025, "KVzip" (arXiv:2505.23416),
// section 3.
class RereadKeys final : public KeySelector {
 public:
  // sinks < budget.
  explicit RereadKeys(const RereadKeysOptions& options);

  std::string_view kind() const override { return "kvzip"; }
  std::unique_ptr<SelectorState> new_state() const override;
  bool keeps_prompts() const override { return true; }
  size_t most_slots() const override { return SIZE_MAX; }
  size_t rereads(size_t n_slots) const override { return n_slots > options_.budget ? options_.chunk : 0; }
  static constexpr size_t kLeadIn = 8;  // tokens before a chunk

 private:
  class State;
  RereadKeysOptions options_;
};

}  // namespace hunch
