#include "select/both.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "base/error.h"
#include "select/selector_states.h"

namespace hunch {

class Both::State final : public SelectorState {
 public:
  void truncate(size_t) override {}
  std::vector<Rows> second;  // [n_tokens] what the second one said
  std::vector<uint32_t> kept;
};

namespace {

Evidence evidence_of(const Selector& selector, Evidence evidence) {
  evidence.state = evidence.states ? evidence.states->of(selector) : nullptr;
  return evidence;
}

}  // namespace

Both::Both(std::shared_ptr<const Selector> first, std::shared_ptr<const Selector> second)
    : first_(std::move(first)), second_(std::move(second)) {}

std::unique_ptr<SelectorState> Both::new_state() const { return std::make_unique<State>(); }

void Both::watch(Compute& compute, const Evidence& evidence) const {
  for (const auto& selector : {first_, second_}) selector->watch(compute, evidence_of(*selector, evidence));
}

void Both::choose(Compute& compute, const Evidence& evidence, std::span<Rows> out) const {
  State none;
  State& memory = evidence.state ? static_cast<State&>(*evidence.state) : none;
  if (memory.second.size() < out.size()) memory.second.resize(out.size());
  first_->choose(compute, evidence_of(*first_, evidence), out);
  second_->choose(compute, evidence_of(*second_, evidence), std::span(memory.second).first(out.size()));
  for (size_t t = 0; t < out.size(); ++t) {
    const Rows& other = memory.second[t];
    HUNCH_CHECK(out[t].n_total() == other.n_total(), "{} chooses among {} rows, {} among {}", first_->kind(),
                out[t].n_total(), second_->kind(), other.n_total());
    if (other.is_all()) continue;
    if (out[t].is_all()) {
      out[t] = other;
      continue;
    }
    memory.kept.clear();
    std::ranges::set_intersection(out[t].ids(), other.ids(), std::back_inserter(memory.kept));
    out[t].refill(other.n_total()).assign(memory.kept.begin(), memory.kept.end());
  }
}

}  // namespace hunch
