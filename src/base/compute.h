// What a computation needs besides its operands: threads, scratch memory, a count of what it read, and a question
// whether to stop. One argument instead of many; passed, never global.
#pragma once
#include <memory>

#include "base/arena.h"
#include "base/meter.h"
#include "base/precision.h"
#include "base/profile.h"
#include "base/rows.h"
#include "base/stop.h"
#include "base/thread_pool.h"

namespace hunch {

// One caller at a time, which may hand it down. Several computations at once have one each.
class Compute {
 public:
  explicit Compute(size_t n_threads, bool pin = false) : threads(n_threads, pin) {}

  ThreadPool threads;
  Arena arena;
  Meter meter;
  Precision precision = Precision::kF32;  // of products with plain weights
  Profile* profile = nullptr;             // wants to know where the time goes; none: nobody does
  Rows any_rows;                          // scratch of a product: what any of its tokens wants
  const Stop* stop = nullptr;             // of the present call; none: nobody can stop it

  bool is_stopped() const { return stop && stop->requested(); }
  // Throws Error{kInterrupted} when the call is to stop. Long loops ask about every 0.1 s, on any thread; it costs a
  // load.
  void throw_if_stopped() const {
    if (stop) stop->throw_if_requested();
  }
};

// Time until the end of the scope is the stage's.
class StageScope {
 public:
  StageScope(Compute& compute, Stage stage) : compute_(compute) {
    if (compute.profile) before_ = compute.profile->enter(stage, compute.meter);
  }
  ~StageScope() {
    if (compute_.profile) compute_.profile->leave(before_, compute_.meter);
  }
  StageScope(const StageScope&) = delete;
  StageScope& operator=(const StageScope&) = delete;

 private:
  Compute& compute_;
  Stage before_ = Stage::kOther;
};

// Makes `stop` that of the calls until the end of the scope.
class StopScope {
 public:
  StopScope(Compute& compute, const Stop* stop) : compute_(compute), before_(compute.stop) {
    if (stop) compute.stop = stop;
  }
  ~StopScope() { compute_.stop = before_; }
  StopScope(const StopScope&) = delete;
  StopScope& operator=(const StopScope&) = delete;

 private:
  Compute& compute_;
  const Stop* before_;
};

}  // namespace hunch
