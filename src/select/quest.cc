#include "select/quest.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {

class Quest::State final : public KeyState {
 public:
  explicit State(const Quest& all) : all_(all) {}

  std::unique_ptr<SelectorState> clone() const override { return std::make_unique<State>(*this); }

  void keep(const KeyPlace& place, std::span<Rows> out) override {
    for (size_t head = 0; head < out.size(); ++head) out[head].refill_all(place.view.n_slots(head));
  }

  PageReads attend(Compute& compute, const KeyPlace& place, const AttentionSpan& query, MatView<const float> Q,
                   size_t n_head, const AttentionParams& params, MatView<float> out) override {
    const PageBudget& budget = query.kv.groups.bits ? all_.budget_in_groups_ : all_.budget_;
    const size_t n_whole = query.first_pos / budget.page_tokens;  // pages before the query's own
    if (place.layer < all_.n_full_ || params.window > 0 || n_whole + 1 <= budget.n_pages) {
      attention(compute, Q, n_head, {&query, 1}, params, out);
      return {};
    }
    summaries_.resize(place.n_layer);
    PageSummaries& summaries = summaries_[place.layer];
    summaries.update(compute, query.kv, budget.page_tokens, n_whole);
    return attend_to_pages(compute, summaries, budget, query, Q, n_head, params, out);
  }

  void truncate(size_t n_tokens) override {
    for (PageSummaries& layer : summaries_) layer.truncate(n_tokens);
  }

 private:
  const Quest& all_;
  std::vector<PageSummaries> summaries_;  // [n_layer]
};

PageBudget Quest::in_groups(PageBudget budget) {
  if (budget.page_tokens >= kKvGroup) return budget;
  const size_t n_pages_in_group = kKvGroup / budget.page_tokens;
  budget.page_tokens = kKvGroup;
  budget.n_newest = (budget.n_newest + n_pages_in_group - 1) / n_pages_in_group;
  budget.n_pages = std::max(budget.n_pages / n_pages_in_group, budget.n_newest + 1);
  return budget;
}

Quest::Quest(const PageBudget& budget, size_t n_full)
    : budget_(budget), budget_in_groups_(in_groups(budget)), n_full_(n_full) {
  HUNCH_CHECK(budget.n_newest >= 1 && budget.n_newest < budget.n_pages, "{} of {} pages are the newest",
              budget.n_newest, budget.n_pages);
}

std::unique_ptr<SelectorState> Quest::new_state() const { return std::make_unique<State>(*this); }

}  // namespace hunch
