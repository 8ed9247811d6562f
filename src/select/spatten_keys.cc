#include "select/spatten_keys.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "select/spatten.h"

namespace hunch {

class SpattenKeys::State final : public KeyState {
 public:
  explicit State(const SpattenKeys& all) : all_(all) {}
  std::unique_ptr<SelectorState> clone() const override { return std::make_unique<State>(*this); }

  bool learns() const override { return true; }

  // Live heads (groups) of a layer of the pass that ends at n_tokens; none: all of them.
  std::span<const uint32_t> live_heads(size_t n_tokens) {
    if (!cascade_) return {};
    enter(n_tokens);
    return cascade_->heads();
  }

  std::span<const Rows> readable(const KeyPlace& place) override {
    if (!cascade_ || place.layer == 0) return {};
    enter(place.view.n_tokens);
    positions_of(place.view);
    cascade_->restrict_to(positions_);
    readable_.resize(place.view.n_kv_head);
    for (Rows& rows : readable_) slots_of(cascade_->tokens(), rows);
    return readable_;
  }

  size_t n_values(const KeyPlace&, size_t n_keys) const override {
    return all_.options_.values < 1 ? std::max<size_t>(1, size_t(std::ceil(all_.options_.values * double(n_keys)))) : 0;
  }

  void observe(const KeyPlace& place, MatView<const float> weights, MatView<const float> heads) override {
    const size_t n_heads = place.view.n_kv_head;
    if (!cascade_) cascade_.emplace(0, n_heads);
    enter(place.view.n_tokens);
    positions_of(place.view);
    cascade_->restrict_to(positions_);
    token_sums_.clear();
    size_t slot = 0;
    for (const uint32_t token : cascade_->tokens()) {
      while (positions_[slot] < token) ++slot;
      float sum = 0;
      for (size_t head = 0; head < n_heads; ++head) sum += weights.row(head)[slot];
      token_sums_.push_back(sum);
    }
    head_sums_.clear();
    const size_t width = heads.cols / n_heads;
    for (const uint32_t head : cascade_->heads()) {
      float sum = 0;
      for (size_t t = 0; t < heads.rows; ++t)
        for (const float x : heads.row(t).subspan(head * width, width)) sum += std::abs(x);
      head_sums_.push_back(sum);
    }
    cascade_->observe(token_sums_, head_sums_);
    const size_t n_tokens = all_.n_tokens_of(place.layer, place.n_layer);
    cascade_->prune(n_tokens, all_.n_heads_of(place.layer + 1, place.n_layer, n_heads),
                    size_t(all_.options_.recent * double(n_tokens)));
    kept_.resize(place.n_layer);
    kept_[place.layer].assign(cascade_->tokens().begin(), cascade_->tokens().end());
  }

  void keep(const KeyPlace& place, std::span<Rows> out) override {
    positions_of(place.view);
    const bool was_seen = pass_ == place.view.n_tokens;  // else the text was cut short since
    for (Rows& rows : out)
      if (was_seen) {
        slots_of(kept_[place.layer], rows);
      } else {
        rows.refill_all(positions_.size());
      }
  }

  void truncate(size_t n_tokens) override {
    pass_ = 0;
    if (n_tokens == 0) cascade_.reset();
    if (cascade_) cascade_->truncate(n_tokens);
  }

 private:
  // The pass after which the sequence has n_tokens.
  void enter(size_t n_tokens) {
    if (pass_ == n_tokens) return;
    pass_ = n_tokens;
    cascade_->append(n_tokens - cascade_->n_tokens());
    cascade_->revive();
  }
  // Of the layer's slots; all heads hold the same.
  void positions_of(const KvView& view) {
    positions_.clear();
    for (size_t slot = 0; slot < view.n_slots(0); ++slot) positions_.push_back(uint32_t(view.position(0, slot)));
  }
  // The slots of these tokens, both ascending.
  void slots_of(std::span<const uint32_t> tokens, Rows& rows) const {
    if (tokens.size() == positions_.size()) return rows.refill_all(positions_.size());
    std::vector<uint32_t>& slots = rows.refill(positions_.size());
    size_t slot = 0;
    for (const uint32_t token : tokens) {
      while (positions_[slot] < token) ++slot;
      slots.push_back(uint32_t(slot));
    }
  }

  const SpattenKeys& all_;
  std::optional<SpattenCascade> cascade_;  // none: nothing was seen yet
  size_t pass_ = 0;
  std::vector<std::vector<uint32_t>> kept_;  // [n_layer] tokens that stay
  std::vector<Rows> readable_;
  std::vector<uint32_t> positions_;  // of the layer that is spoken of
  std::vector<float> token_sums_, head_sums_;
};

SpattenKeys::SpattenKeys(const SpattenOptions& options) : options_(options) {
  HUNCH_CHECK(options.budget >= 1 && options.recent >= 0 && options.recent <= 1 && options.heads > 0 &&
                  options.heads <= 1 && options.values > 0 && options.values <= 1,
              "budget {}, recent {}, heads {}, values {}", options.budget, options.recent, options.heads,
              options.values);
}

std::unique_ptr<SelectorState> SpattenKeys::new_state() const { return std::make_unique<State>(*this); }

namespace {

// How deep a layer lies, 0 to 1.
double depth_of(size_t layer, size_t n_layer) {
  return n_layer < 2 ? 0.5 : double(std::min(layer, n_layer - 1)) / double(n_layer - 1);
}

}  // namespace

size_t SpattenKeys::n_tokens_of(size_t layer, size_t n_layer) const {
  return std::max<size_t>(1, size_t(std::lround(double(options_.budget) * (1.5 - depth_of(layer, n_layer)))));
}

size_t SpattenKeys::n_heads_of(size_t layer, size_t n_layer, size_t n_heads) const {
  const double share = n_layer < 2 ? 1.0 : 1.0 - (1.0 - options_.heads) * depth_of(layer, n_layer);
  return std::max<size_t>(1, size_t(std::ceil(double(n_heads) * share)));
}

void SpattenKeys::choose(Compute&, const Evidence& evidence, std::span<Rows> out) const {
  State* state = static_cast<State*>(evidence.state);
  const std::span<const uint32_t> live =
      state ? state->live_heads(evidence.first_position + out.size()) : std::span<const uint32_t>();
  for (Rows& rows : out) {
    if (live.empty() || live.size() == evidence.n_rows) {
      rows.refill_all(evidence.n_rows);
    } else {
      rows.refill(evidence.n_rows).assign(live.begin(), live.end());
    }
  }
}

}  // namespace hunch
