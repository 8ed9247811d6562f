// For tests: runs a body once for every SIMD target that was compiled and that this machine has.
#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "hwy/highway.h"
#include "kernels/dot_targets.h"

namespace hunch {

// Where a target uses VNNI the body runs once more as on a CPU without it. Failures inside `body` name the target.
// Afterwards the best target is in force again.
template <class Body>
void for_each_target(const Body& body) {
  const auto run = [&](int64_t target, bool hide_vnni) {
    hide_vnni_for_test(hide_vnni);
    SCOPED_TRACE(std::string(hwy::TargetName(target)) + (hide_vnni ? " without VNNI" : ""));
    body();
    hide_vnni_for_test(false);
  };
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    run(target, false);
    const bool uses_vnni = target <= HWY_AVX3 ? has_avx512_vnni() : target == HWY_AVX2 && has_avx_vnni();
    if (uses_vnni) run(target, true);
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace hunch
