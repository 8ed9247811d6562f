// ExpectedAttention: when a prompt ends, those of its tokens stay that queries to come are expected to look at.
#pragma once
#include "select/key_selector.h"

namespace hunch {

struct ExpectedKeysOptions {
  size_t budget = 0;     // tokens of a KV head that stay of a prompt; mean over heads
  size_t sinks = 4;      // first tokens, which stay, and whose queries say nothing
  size_t queries = 256;  // the prompt's last ones, which the Gaussian is of
  size_t future = 512;   // positions that queries to come may have
  bool covariance = true;
  bool values = true;  // weighed by the norm of the value
  double floor = 1;    // 1: all heads keep the same; else as PromptKeysOptions::floor
};

// The Gaussian is of the queries before RoPE, turned by the mean of what RoPE does at the `future` positions after the
// prompt. With ALiBi a query to come stands in the middle of them. Heads that share keys have the mean of what each
// gives. What is decoded stays; the next prompt's end chooses among all.
// Source: Devoto et al. 2025, "Expected Attention" (arXiv:2510.00636).
class ExpectedKeys final : public KeySelector {
 public:
  // sinks < budget.
  explicit ExpectedKeys(const ExpectedKeysOptions& options);

  std::string_view kind() const override { return "expected"; }
  std::unique_ptr<SelectorState> new_state() const override;
  bool keeps_prompts() const override { return true; }
  bool heads_apart() const override { return options_.floor >= 1; }  // else heads share a budget
  size_t most_slots() const override { return SIZE_MAX; }
  const ExpectedKeysOptions& options() const { return options_; }

 private:
  class State;
  ExpectedKeysOptions options_;
};

}  // namespace hunch
