#include "select/prompt_selector.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hunch {
namespace {

struct State final : SelectorState {
  // What was watched cannot be taken back: a cut into it forgets all, and the next prompt chooses.
  void truncate(size_t n_tokens) override {
    if (n_tokens >= end) return;
    statistic.clear();
    end = 0;
    is_chosen = false;
  }
  PromptStatistic statistic;
  size_t end = 0;  // of the tokens that were watched, in their sequence
  bool is_chosen = false;
  Rows chosen;
};

}  // namespace

size_t n_kept(double density, size_t n) {
  return std::min(n, std::max<size_t>(1, size_t(std::ceil(density * double(n) - 1e-6))));
}

std::unique_ptr<SelectorState> PromptSelector::new_state() const { return std::make_unique<State>(); }

void PromptSelector::watch(Compute& compute, const Evidence& e) const {
  auto& state = static_cast<State&>(*e.state);
  state.statistic.add(compute, e.x);
  state.end = e.first_position + e.x.rows;
  state.is_chosen = false;
}

Rows* PromptSelector::settled(SelectorState* of_sequence, size_t n_total) const {
  auto& state = static_cast<State&>(*of_sequence);
  if (state.is_chosen) return &state.chosen;
  if (state.statistic.n_tokens() < kMinTokens) return nullptr;
  const size_t n = n_kept(density_, n_total);
  if (n < n_total) {
    state.statistic.select(n, state.chosen);
  } else {
    state.chosen.refill_all(n_total);
  }
  state.is_chosen = true;
  return &state.chosen;
}

void PromptSelector::choose(Compute&, const Evidence& e, std::span<Rows> out) const {
  HUNCH_CHECK(e.state, "what a prompt chose is remembered by its sequence, and the run names no states");
  const Rows* chosen = settled(e.state, e.n_rows);
  for (Rows& rows : out)
    if (chosen) {
      rows = *chosen;
    } else {
      rows.refill_all(e.n_rows);
    }
}

}  // namespace hunch
