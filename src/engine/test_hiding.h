// For tests: what policies that drop cached tokens are, on a cache that drops none.
#pragma once
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "select/key_selector.h"

namespace hunch {

// Says what `inner` says, of a cache of which nothing goes: what inner dropped is not read.
class Hiding final : public KeySelector {
 public:
  explicit Hiding(std::shared_ptr<const KeySelector> inner) : inner_(std::move(inner)) {}
  std::string_view kind() const override { return "hiding"; }
  size_t most_slots() const override { return inner_->most_slots(); }
  bool keeps_prompts() const override { return inner_->keeps_prompts(); }
  size_t rereads(size_t n_slots) const override { return inner_->rereads(n_slots); }
  std::unique_ptr<SelectorState> new_state() const override { return std::make_unique<State>(inner_->new_state()); }

 private:
  class State final : public KeyState {
   public:
    explicit State(std::unique_ptr<SelectorState> inner)
        : made_(std::move(inner)), inner_(static_cast<KeyState&>(*made_)) {}
    std::unique_ptr<SelectorState> clone() const override {
      auto copy = std::make_unique<State>(made_->clone());
      copy->left_ = left_;
      copy->n_known_ = n_known_;
      return copy;
    }

    bool learns() const override { return inner_.learns(); }
    size_t n_watched() const override { return inner_.n_watched(); }
    bool wants_largest() const override { return inner_.wants_largest(); }
    size_t n_queries() const override { return inner_.n_queries(); }
    void begin_rereading() override { inner_.begin_rereading(); }
    void end_rereading() override { inner_.end_rereading(); }

    std::span<const Rows> readable(const KeyPlace& place) override {
      const KeyPlace left = what_is_left(place);
      const std::span<const Rows> chosen = inner_.readable(left);
      readable_.resize(place.view.n_kv_head);
      for (size_t head = 0; head < readable_.size(); ++head) {
        std::vector<uint32_t>& slots = readable_[head].refill(place.view.n_slots(head));
        const std::vector<uint32_t>& seen = left.view.positions[head];
        if (chosen.empty()) {
          slots.assign(seen.begin(), seen.end());
        } else {
          chosen[head].for_each([&](size_t slot) { slots.push_back(seen[slot]); });
        }
      }
      return readable_;
    }

    void observe(const KeyPlace& place, MatView<const float> weights, MatView<const float> heads) override {
      const KeyPlace left = what_is_left(place);
      size_t most = 0;
      for (const auto& seen : left.view.positions) most = std::max(most, seen.size());
      std::vector<float> of_left(weights.rows * most);
      for (size_t head = 0; head < weights.rows; ++head)
        for (size_t i = 0; i < left.view.positions[head].size(); ++i)
          of_left[head * most + i] = weights.row(head)[left.view.positions[head][i]];
      inner_.observe(left, {of_left.data(), weights.rows, most}, heads);
    }

    void see(const KeyPlace& place, const QueriesSeen& seen) override { inner_.see(what_is_left(place), seen); }

    // Where inner looks at keys itself: of a text's first prompt, all are there.
    void decide(Compute& compute, const KeyPlace& place) override { inner_.decide(compute, place); }

    void keep(const KeyPlace& place, std::span<Rows> out) override {
      const KeyPlace left = what_is_left(place);
      std::vector<Rows> kept(out.size());
      inner_.keep(left, kept);
      for (size_t head = 0; head < out.size(); ++head) {
        out[head].refill_all(place.view.n_slots(head));
        std::vector<uint32_t> stay;
        kept[head].for_each([&](size_t slot) { stay.push_back(left.view.positions[head][slot]); });
        left_[place.layer][head] = std::move(stay);
      }
    }

    void truncate(size_t n_tokens) override {
      inner_.truncate(n_tokens);
      for (size_t layer = 0; layer < left_.size(); ++layer) forget(layer, n_tokens);
    }

   private:
    void forget(size_t layer, size_t n_tokens) {
      for (auto& head : left_[layer]) std::erase_if(head, [&](uint32_t position) { return position >= n_tokens; });
      n_known_[layer] = std::min(n_known_[layer], n_tokens);
    }
    // The place as inner knows it: without what it dropped, with the tokens that came since.
    KeyPlace what_is_left(const KeyPlace& place) {
      left_.resize(place.n_layer);
      n_known_.resize(place.n_layer);
      auto& heads = left_[place.layer];
      heads.resize(place.view.n_kv_head);
      forget(place.layer, place.view.n_tokens);  // what was computed behind the text to see what it looks at
      for (size_t& n = n_known_[place.layer]; n < place.view.n_tokens; ++n)
        for (auto& head : heads) head.push_back(uint32_t(n));
      KeyPlace left = place;
      left.view.positions = heads;
      return left;
    }

    std::unique_ptr<SelectorState> made_;
    KeyState& inner_;
    std::vector<std::vector<std::vector<uint32_t>>> left_;  // [n_layer][n_kv_head] positions
    std::vector<size_t> n_known_;                           // [n_layer] tokens that were met
    std::vector<Rows> readable_;
  };

  std::shared_ptr<const KeySelector> inner_;
};

}  // namespace hunch
