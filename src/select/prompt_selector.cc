#include "select/prompt_selector.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"

namespace hunch {
namespace {

constexpr uint32_t kDense = Evidence().expert;

// Of one MLP, dense or an expert.
struct Seen {
  PromptStatistic statistic;
  bool is_chosen = false;
  Rows chosen;

  // nullptr: it saw too few tokens.
  Rows* settled(double density, size_t n_total) {
    if (is_chosen) return &chosen;
    if (statistic.n_tokens() < PromptSelector::kMinTokens) return nullptr;
    const size_t n = n_kept(density, n_total);
    if (n < n_total) {
      statistic.select(n, chosen);
    } else {
      chosen.refill_all(n_total);
    }
    is_chosen = true;
    return &chosen;
  }
};

struct State final : SelectorState {
  // What was watched cannot be taken back: a cut into it forgets all, and the next prompt chooses.
  void truncate(size_t n_tokens) override {
    if (n_tokens >= end) return;
    for (auto& [expert, seen] : mlps) seen.statistic.clear(), seen.is_chosen = false;
    end = 0;
  }
  std::map<uint32_t, Seen> mlps;  // by expert; kDense: the layer's own
  size_t end = 0;                 // of the tokens that were watched, in their sequence
};

}  // namespace

size_t n_kept(double density, size_t n) {
  return std::min(n, std::max<size_t>(1, size_t(std::ceil(density * double(n) - 1e-6))));
}

std::unique_ptr<SelectorState> PromptSelector::new_state() const { return std::make_unique<State>(); }

void PromptSelector::watch(Compute& compute, const Evidence& e) const {
  auto& state = static_cast<State&>(*e.state);
  Seen& seen = state.mlps[e.expert];
  seen.statistic.add(compute, e.x);
  seen.is_chosen = false;
  state.end = std::max(state.end, e.first_position + e.x.rows);
}

Rows* PromptSelector::settled(SelectorState* of_sequence, size_t n_total) const {
  return static_cast<State&>(*of_sequence).mlps[kDense].settled(density_, n_total);
}

void PromptSelector::choose(Compute&, const Evidence& e, std::span<Rows> out) const {
  HUNCH_CHECK(e.state, "what a prompt chose is remembered by its sequence, and the run names no states");
  const Rows* chosen = static_cast<State&>(*e.state).mlps[e.expert].settled(density_, e.n_rows);
  for (Rows& rows : out)
    if (chosen) {
      rows = *chosen;
    } else {
      rows.refill_all(e.n_rows);
    }
}

}  // namespace hunch
