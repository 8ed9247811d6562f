// Where the time of a step goes: a clock per stage, which a computation has if someone wants to know.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "base/meter.h"
#include "base/timer.h"

namespace hunch {

enum class Stage : uint8_t {
  kOther,  // what no stage claims: between them, and around the step
  kEmbedding,
  kNorms,  // and what is added to the stream
  kSelection,
  kQkv,
  kKeys,  // positions, norms of heads, and what goes into the cache
  kAttention,
  kOutput,
  kRouting,
  kGateUp,
  kActivation,
  kDown,
  kLogits,
};
constexpr size_t kNumStages = size_t(Stage::kLogits) + 1;

const char* name_of(Stage stage);

// The calling thread's time, and the bytes that its computations read, by stage. Stages may stand in one another: the
// inner one's time is not the outer one's.
class Profile {
 public:
  struct Cost {
    double seconds = 0;
    uint64_t bytes = 0, n_times = 0;
  };

  // From now on, until it changes, time is `stage`'s. Returns which it was before.
  Stage enter(Stage stage, const Meter& meter);
  void leave(Stage before, const Meter& meter);
  // Forgets all; time from now on counts.
  void start(const Meter& meter);
  // Ends the present stretch, so that costs() is up to date.
  void stop(const Meter& meter);
  const Cost& cost(Stage stage) const { return costs_[size_t(stage)]; }

 private:
  static uint64_t total(const Meter& meter);

  std::array<Cost, kNumStages> costs_{};
  Stage now_ = Stage::kOther;
  Timer since_;
  uint64_t bytes_before_ = 0;
};

}  // namespace hunch
