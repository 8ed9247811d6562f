// Quest: every query reads the pages of the cache that may matter to it, and nothing is dropped.
#pragma once
#include "select/key_selector.h"
#include "select/page_attention.h"

namespace hunch {

// Each page of keys is known by its channels' largest and smallest values; a query reads those pages whose bound on a
// score is highest. Layers with a window read their window.
// Source: Tang et al. 2024, "Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference" (arXiv:2406.10774),
// section 3; their code leaves the first two layers as they are, and does not read the newest page unless it is chosen.
class Quest final : public KeySelector {
 public:
  // In layers from `n_full` on. budget.n_newest >= 1.
  Quest(const PageBudget& budget, size_t n_full);

  std::string_view kind() const override { return "quest"; }
  std::unique_ptr<SelectorState> new_state() const override;
  bool attends() const override { return true; }
  size_t most_slots() const override { return SIZE_MAX; }
  bool heads_apart() const override { return true; }
  const PageBudget& budget() const { return budget_; }
  // In a cache in groups a page is a group at least: fewer pages of as many tokens, one to choose beside the newest.
  static PageBudget in_groups(PageBudget budget);

 private:
  class State;
  PageBudget budget_, budget_in_groups_;
  size_t n_full_;
};

}  // namespace hunch
