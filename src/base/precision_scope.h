// A stretch of a computation at another precision than its caller asked for.
#pragma once
#include <utility>

#include "base/compute.h"

namespace hunch {

class PrecisionScope {
 public:
  PrecisionScope(Compute& compute, Precision precision)
      : compute_(compute), before_(std::exchange(compute.precision, precision)) {}
  ~PrecisionScope() { compute_.precision = before_; }
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;

 private:
  Compute& compute_;
  const Precision before_;
};

}  // namespace hunch
