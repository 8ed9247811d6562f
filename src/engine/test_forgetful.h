// For tests: what selectors are that attend themselves, with nothing remembered.
#pragma once
#include <memory>
#include <utility>

#include "select/key_selector.h"

namespace hunch {

// Says what `inner` says to a text that it meets for the first time, for every query.
class Forgetful final : public KeySelector {
 public:
  explicit Forgetful(std::shared_ptr<const KeySelector> inner) : inner_(std::move(inner)) {}
  std::string_view kind() const override { return "forgetful"; }
  bool attends() const override { return true; }
  bool attends_prompts() const override { return inner_->attends_prompts(); }
  size_t most_slots() const override { return SIZE_MAX; }
  std::unique_ptr<SelectorState> new_state() const override { return std::make_unique<State>(*inner_); }

 private:
  struct State final : KeyState {
    explicit State(const KeySelector& inner) : inner(inner) {}
    void keep(const KeyPlace&, std::span<Rows>) override {}
    void truncate(size_t) override {}
    PageReads attend(Compute& compute, const KeyPlace& place, const AttentionSpan& query, MatView<const float> Q,
                     size_t n_head, const AttentionParams& params, MatView<float> out) override {
      const auto state = inner.new_state();
      return static_cast<KeyState&>(*state).attend(compute, place, query, Q, n_head, params, out);
    }
    const KeySelector& inner;
  };
  std::shared_ptr<const KeySelector> inner_;
};

}  // namespace hunch
