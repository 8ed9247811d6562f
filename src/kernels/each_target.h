// For tests: runs a body once for every SIMD target that was compiled and that this machine has; hides AMX tiles.
#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "hwy/highway.h"
#include "kernels/dot_targets.h"

namespace hunch {

// Until the end of the scope products do not take AMX tiles, which round other numbers than the kernels under test.
class WithoutTiles {
 public:
  WithoutTiles() : before_(hide_for_test(Hidden::kTiles)) {}
  ~WithoutTiles() { hide_for_test(before_); }
  WithoutTiles(const WithoutTiles&) = delete;
  WithoutTiles& operator=(const WithoutTiles&) = delete;

 private:
  Hidden before_;
};

// Runs a body once for every maker of processors whose prefetchers loops are made for.
template <class Body>
void for_each_maker(const Body& body) {
  const Maker own = pretend_for_test(Maker::kOther);
  for (const Maker maker : {Maker::kOther, Maker::kIntel, Maker::kAmd}) {
    pretend_for_test(maker);
    SCOPED_TRACE("maker " + std::to_string(int(maker)));
    body();
  }
  pretend_for_test(own);
}

// Where a target uses VNNI the body runs once more as on a CPU without it. AMX tiles are hidden: they round other
// numbers and have tests of their own. Failures inside `body` name the target. Afterwards the best target is in force
// again.
template <class Body>
void for_each_target(const Body& body) {
  const auto run = [&](int64_t target, bool hide_vnni) {
    const Hidden before = hide_for_test(hide_vnni ? Hidden::kTilesAndVnni : Hidden::kTiles);
    SCOPED_TRACE(std::string(hwy::TargetName(target)) + (hide_vnni ? " without VNNI" : ""));
    body();
    hide_for_test(before);
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
