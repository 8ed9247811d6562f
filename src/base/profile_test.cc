#include "base/profile.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "base/compute.h"

namespace hunch {
namespace {

void wait_ms(int n) { std::this_thread::sleep_for(std::chrono::milliseconds(n)); }

TEST(Profile, InnerStagesAreNotTheOuterOnes) {
  Compute compute(1);
  Profile profile;
  compute.profile = &profile;
  profile.start(compute.meter);
  {
    const StageScope outer(compute, Stage::kQkv);
    compute.meter.read_weights(100);
    {
      const StageScope inner(compute, Stage::kSelection);
      compute.meter.read_weights(20);
      compute.meter.read_kv(3);
      wait_ms(30);
    }
    compute.meter.read_weights(1000);
  }
  compute.meter.read_weights(5);
  profile.stop(compute.meter);
  EXPECT_EQ(profile.cost(Stage::kQkv).bytes, 1100u);
  EXPECT_EQ(profile.cost(Stage::kSelection).bytes, 23u);
  EXPECT_EQ(profile.cost(Stage::kOther).bytes, 5u);
  EXPECT_EQ(profile.cost(Stage::kQkv).n_times, 1u);
  EXPECT_EQ(profile.cost(Stage::kSelection).n_times, 1u);
  EXPECT_GE(profile.cost(Stage::kSelection).seconds, 0.03);
  EXPECT_LT(profile.cost(Stage::kQkv).seconds, profile.cost(Stage::kSelection).seconds);
  profile.start(compute.meter);
  EXPECT_EQ(profile.cost(Stage::kQkv).bytes, 0u);
}

TEST(Profile, NobodyWhoWantsToKnowCostsNothing) {
  Compute compute(1);
  const StageScope scope(compute, Stage::kQkv);
  EXPECT_EQ(compute.profile, nullptr);
}

TEST(Profile, EveryStageHasAName) {
  for (size_t i = 0; i < kNumStages; ++i) EXPECT_GT(std::strlen(name_of(Stage(i))), 0u);
}

}  // namespace
}  // namespace hunch
