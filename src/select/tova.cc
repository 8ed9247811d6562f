#include "select/tova.h"

#include "base/error.h"
#include "select/key_policy.h"

namespace hunch {

class Tova::State final : public KeyState {
 public:
  explicit State(size_t budget) : budget_(budget) {}
  std::unique_ptr<SelectorState> clone() const override { return std::make_unique<State>(*this); }

  bool learns() const override { return true; }
  size_t n_watched() const override { return 1; }

  // The sum orders slots as the mean does.
  void observe(const KeyPlace& place, MatView<const float> weights, MatView<const float>) override {
    scores_.resize(place.n_layer);
    std::vector<float>& sums = scores_[place.layer];
    sums.assign(place.view.n_slots(0), 0.0f);
    for (size_t head = 0; head < place.view.n_kv_head; ++head)
      for (size_t slot = 0; slot < sums.size(); ++slot) sums[slot] += weights.row(head)[slot];
  }

  void keep(const KeyPlace& place, std::span<Rows> out) override {
    const std::vector<float>& sums = scores_[place.layer];
    const size_t n_slots = place.view.n_slots(0);
    for (Rows& rows : out)
      if (n_slots <= budget_ || sums.size() != n_slots) {  // the text was cut short since
        rows.refill_all(n_slots);
      } else {
        append_heaviest(sums, 0, n_slots, budget_, rows.refill(n_slots));
      }
  }

  void truncate(size_t) override {
    for (std::vector<float>& sums : scores_) sums.clear();
  }

 private:
  const size_t budget_;
  std::vector<std::vector<float>> scores_;  // [n_layer][n_slots] of the newest query
};

Tova::Tova(size_t budget) : budget_(budget) { HUNCH_CHECK(budget >= 1); }

std::unique_ptr<SelectorState> Tova::new_state() const { return std::make_unique<State>(budget_); }

}  // namespace hunch
