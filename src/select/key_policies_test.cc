#include "select/key_policies.h"

#include <gtest/gtest.h>

#include "io/test_errors.h"

namespace hunch {
namespace {

TEST(KeyPolicies, AreReadWithTheirOptions) {
  EXPECT_EQ(key_policy_from("streaming:256")->most_slots(), 256u);
  EXPECT_TRUE(key_policy_from("streaming:256,sinks=8")->streams());
  EXPECT_FALSE(key_policy_from("h2o:16,recent=0.25")->streams());
  EXPECT_FALSE(key_policy_from("spatten:16")->chooses_heads());
  EXPECT_TRUE(key_policy_from("spatten:16,recent=0,heads=0.5")->chooses_heads());
  EXPECT_EQ(key_policy_from("tova:16")->kind(), "tova");
}

TEST(KeyPolicies, AnErrorNamesWhatWasExpectedAndFound) {
  const auto refusal = [](const char* text) { return message_of(ErrorKind::kUsage, [&] { key_policy_from(text); }); };
  EXPECT_NE(refusal("lru:4").find("streaming:256, h2o:128, spatten:128"), std::string::npos);
  for (const char* text : {"h2o", "h2o:", "h2o:0", "h2o:-1", "h2o:4x", "h2o:1e9"})
    EXPECT_NE(refusal(text).find("has no budget"), std::string::npos) << text;
  EXPECT_NE(refusal("h2o:8,sinks=4").find("'sinks=4' is no option of h2o"), std::string::npos);
  EXPECT_NE(refusal("tova:8,recent=1").find("is no option of tova, expected none"), std::string::npos);
  EXPECT_NE(refusal("h2o:8,recent").find("'recent'"), std::string::npos);
  EXPECT_NE(refusal("h2o:8,recent=2").find("recent 2"), std::string::npos);
  EXPECT_NE(refusal("streaming:4").find("sinks 4"), std::string::npos);
  EXPECT_NE(refusal("spatten:4,heads=0").find("heads 0"), std::string::npos);
  EXPECT_NE(refusal("spatten:4,values=2").find("values 2"), std::string::npos);
}

}  // namespace
}  // namespace hunch
