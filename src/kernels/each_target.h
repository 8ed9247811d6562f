// For tests: runs a body once for every SIMD target that was compiled and that this machine has.
#pragma once
#include <gtest/gtest.h>

#include <cstdint>

#include "hwy/highway.h"

namespace hunch {

// Failures inside `body` name the target. Afterwards the best target is in force again.
template <class Body>
void for_each_target(const Body& body) {
  for (int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(target));
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace hunch
