#include "base/profile.h"

namespace hunch {

const char* name_of(Stage stage) {
  constexpr std::array<const char*, kNumStages> kNames = {
      "other",   "embedding", "norms, residuals", "selection", "q, k, v", "positions, cache", "attention", "output",
      "routing", "gate, up",  "activation",       "down",      "logits"};
  return kNames[size_t(stage)];
}

uint64_t Profile::total(const Meter& meter) {
  uint64_t sum = 0;
  for (const uint64_t n : meter.bytes().read) sum += n;
  return sum;
}

void Profile::start(const Meter& meter) {
  costs_ = {};
  now_ = Stage::kOther;
  since_ = Timer();
  bytes_before_ = total(meter);
}

void Profile::stop(const Meter& meter) {
  Cost& cost = costs_[size_t(now_)];
  const uint64_t bytes = total(meter);
  cost.seconds += since_.seconds();
  cost.bytes += bytes - bytes_before_;
  since_ = Timer();
  bytes_before_ = bytes;
}

Stage Profile::enter(Stage stage, const Meter& meter) {
  stop(meter);
  ++costs_[size_t(stage)].n_times;
  const Stage before = now_;
  now_ = stage;
  return before;
}

void Profile::leave(Stage before, const Meter& meter) {
  stop(meter);
  now_ = before;
}

}  // namespace hunch
