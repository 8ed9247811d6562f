#include "select/per_head_keys.h"

#include "base/error.h"

namespace hunch {

class PerHeadKeys::State final : public KeyState {
 public:
  explicit State(const PerHeadKeys& all) : all_(all) {}
  State(const State& other) : KeyState(other), all_(other.all_) {
    for (const Layer& layer : other.layers_) {
      Layer& own = layers_.emplace_back();
      own.n_tokens = layer.n_tokens;
      for (const auto& head : layer.heads) own.heads.push_back(head->clone());
    }
  }
  std::unique_ptr<SelectorState> clone() const override { return std::make_unique<State>(*this); }

  bool learns() const override { return all_.policy_->learns(); }

  void observe(const KeyPlace& place, MatView<const float> weights, MatView<const float>) override {
    Layer& layer = at(place);
    for (size_t head = 0; head < layer.heads.size(); ++head)
      layer.heads[head]->observe(weights.row(head).first(place.view.n_slots(head)));
    layer.n_tokens = place.view.n_tokens;
  }

  void keep(const KeyPlace& place, std::span<Rows> out) override {
    Layer& layer = at(place);
    for (size_t head = 0; head < out.size(); ++head) {
      const size_t n_slots = place.view.n_slots(head);
      if (n_slots <= all_.budget_) {
        out[head].refill_all(n_slots);
        continue;
      }
      std::vector<uint32_t>& kept = out[head].refill(n_slots);
      layer.heads[head]->keep(n_slots, all_.budget_, kept);
      layer.heads[head]->compact(kept);
    }
  }

  size_t n_sinks() const override { return all_.n_sinks_; }

  void truncate(size_t n_tokens) override {
    if (n_tokens == 0) {
      layers_.clear();
      sink_keys_.clear();
    }
    for (Layer& layer : layers_) {
      if (layer.n_tokens <= n_tokens) continue;
      for (auto& policy : layer.heads) policy->forget_last(layer.n_tokens - n_tokens);
      layer.n_tokens = n_tokens;
    }
  }

 private:
  struct Layer {
    size_t n_tokens = 0;                            // that were observed
    std::vector<std::unique_ptr<KeyPolicy>> heads;  // [n_kv_head]
  };
  Layer& at(const KeyPlace& place) {
    layers_.resize(place.n_layer);
    Layer& layer = layers_[place.layer];
    while (layer.heads.size() < place.view.n_kv_head) layer.heads.push_back(all_.policy_->clone());
    return layer;
  }

  const PerHeadKeys& all_;
  std::vector<Layer> layers_;
};

PerHeadKeys::PerHeadKeys(std::string_view kind, std::unique_ptr<const KeyPolicy> policy, size_t budget, size_t n_sinks)
    : kind_(kind), policy_(std::move(policy)), budget_(budget), n_sinks_(n_sinks) {
  HUNCH_CHECK(budget >= 1 && n_sinks <= budget, "{} sinks of {} tokens", n_sinks, budget);
}

std::unique_ptr<SelectorState> PerHeadKeys::new_state() const { return std::make_unique<State>(*this); }

}  // namespace hunch
