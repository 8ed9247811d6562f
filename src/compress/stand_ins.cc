#include "compress/stand_ins.h"

#include "base/error.h"
#include "linear/stored.h"

namespace hunch {

void StandIns::put(std::unique_ptr<Linear>& slot, EncodedMatrix W, std::vector<float> bias) {
  HUNCH_CHECK(W.rows == slot->n_out && W.cols == slot->n_in, "[{}, {}] in the place of [{}, {}]", W.rows, W.cols,
              slot->n_out, slot->n_in);
  auto held = std::make_unique<Held>(Held{std::move(W), nullptr, &slot});
  auto form = std::make_unique<Stored>(slot->id, held->W.view(), WeightView(), std::move(bias), layouts_);
  held->own = std::exchange(slot, std::move(form));
  held_.push_back(std::move(held));
}

void StandIns::clear() {
  for (const std::unique_ptr<Held>& held : held_) *held->slot = std::move(held->own);
  held_.clear();
}

}  // namespace hunch
