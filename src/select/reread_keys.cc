#include "select/reread_keys.h"

#include <algorithm>

#include "base/error.h"
#include "select/voted_keys.h"

namespace hunch {

class RereadKeys::State final : public KeyState {
 public:
  explicit State(const RereadKeysOptions& options) : options_(options) {}
  std::unique_ptr<SelectorState> clone() const override { return std::make_unique<State>(*this); }

  bool learns() const override { return rereads_; }
  bool wants_largest() const override { return true; }
  void begin_rereading() override {
    rereads_ = true;
    scores_.clear();
  }
  void end_rereading() override { rereads_ = false; }

  // Of the slots before what is computed once more.
  void observe(const KeyPlace& place, MatView<const float> weights, MatView<const float> heads) override {
    scores_.resize(place.n_layer);
    Scores& scores = scores_[place.layer];
    const size_t n = weights.cols;
    if (scores.largest.empty()) scores.largest.resize(weights.rows * n), scores.stride = n;
    scores.n_slots.resize(weights.rows);
    for (size_t head = 0; head < weights.rows; ++head) {
      scores.n_slots[head] = place.view.n_slots(head) - heads.rows;
      for (size_t slot = 0; slot < std::min(scores.n_slots[head], scores.stride); ++slot) {
        float& largest = scores.largest[head * scores.stride + slot];
        largest = std::max(largest, weights.row(head)[slot]);
      }
    }
  }

  void decide(Compute&, const KeyPlace& place) override {
    kept_.clear();
    if (place.layer >= scores_.size()) return;
    const Scores scores = std::exchange(scores_[place.layer], {});
    size_t most = 0;
    for (size_t head = 0; head < scores.n_slots.size(); ++head) {
      if (scores.n_slots[head] != place.view.n_slots(head)) return;  // the text was cut short, or goes on
      most = std::max(most, scores.n_slots[head]);
    }
    if (most <= options_.budget) return;
    const MatView<const float> votes(scores.largest.data(), scores.n_slots.size(), most, scores.stride);
    keep_voted(place.view, votes, options_.sinks, options_.budget, options_.floor, kept_);
  }

  void keep(const KeyPlace& place, std::span<Rows> out) override { hand_out(place.view, kept_, out); }
  void truncate(size_t) override {}

 private:
  struct Scores {
    std::vector<float> largest;  // [n_kv_head, stride]
    size_t stride = 0;
    std::vector<size_t> n_slots;  // [n_kv_head]
  };
  const RereadKeysOptions& options_;
  bool rereads_ = false;
  std::vector<Scores> scores_;  // [n_layer]
  std::vector<Rows> kept_;
};

RereadKeys::RereadKeys(const RereadKeysOptions& options) : options_(options) {
  HUNCH_CHECK(options.sinks < options.budget && options.chunk > kLeadIn && options.floor >= 0 && options.floor <= 1,
              "budget {}, sinks {}, chunk {}", options.budget, options.sinks, options.chunk);
}

std::unique_ptr<SelectorState> RereadKeys::new_state() const { return std::make_unique<State>(options_); }

}  // namespace hunch
