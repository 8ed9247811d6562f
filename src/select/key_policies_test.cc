#include "select/key_policies.h"

#include <gtest/gtest.h>

#include "io/test_errors.h"
#include "select/expected_keys.h"
#include "select/prompt_keys.h"
#include "select/quest.h"

namespace hunch {
namespace {

TEST(KeyPolicies, AreReadWithTheirOptions) {
  EXPECT_EQ(key_policy_from("streaming:256")->most_slots(), 256u);
  EXPECT_TRUE(key_policy_from("streaming:256,sinks=8")->streams());
  EXPECT_FALSE(key_policy_from("h2o:16,recent=0.25")->streams());
  EXPECT_FALSE(key_policy_from("spatten:16")->chooses_heads());
  EXPECT_TRUE(key_policy_from("spatten:16,recent=0,heads=0.5")->chooses_heads());
  EXPECT_EQ(key_policy_from("tova:16")->kind(), "tova");
  EXPECT_TRUE(key_policy_from("tova:16")->drops());
  EXPECT_FALSE(key_policy_from("quest:32")->drops());
  EXPECT_TRUE(key_policy_from("snapkv:64")->keeps_prompts());
  EXPECT_EQ(key_policy_from("pyramidkv:64,window=8")->kind(), "pyramidkv");
  const auto ada = key_policy_from("adakv:64,floor=0.5,max=1,kernel=7");
  EXPECT_EQ(static_cast<const PromptKeys&>(*ada).options().floor, 0.5);
  EXPECT_TRUE(static_cast<const PromptKeys&>(*ada).options().pools_max);
  const auto expected = key_policy_from("expected:64,queries=16,cov=0,floor=0.5");
  const ExpectedKeysOptions& of_expected = static_cast<const ExpectedKeys&>(*expected).options();
  EXPECT_EQ(of_expected.queries, 16u);
  EXPECT_FALSE(of_expected.covariance);
  EXPECT_TRUE(of_expected.values);
  EXPECT_EQ(of_expected.floor, 0.5);
  EXPECT_TRUE(expected->keeps_prompts());
  EXPECT_EQ(key_policy_from("kvzip:64,chunk=32")->rereads(65), 32u);
  EXPECT_EQ(key_policy_from("kvzip:64,chunk=32")->rereads(64), 0u) << "nothing will go";
  EXPECT_EQ(expected->rereads(65), 0u);
  const auto quest = key_policy_from("quest:100,page=8,newest=2,own=1,certified=0.01");
  const PageBudget& budget = static_cast<const Quest&>(*quest).budget();
  EXPECT_EQ(budget.page_tokens, 8u);
  EXPECT_EQ(budget.n_pages, 12u);
  EXPECT_EQ(budget.n_newest, 2u);
  EXPECT_TRUE(budget.per_head);
  EXPECT_EQ(budget.tolerance, 0.01);
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
  EXPECT_NE(refusal("snapkv:32").find("a budget of 32 tokens, expected more than the window of 32"), std::string::npos);
  EXPECT_NE(refusal("snapkv:64,kernel=4").find("kernel 4, expected an odd number"), std::string::npos);
  EXPECT_NE(refusal("snapkv:64,beta=2").find("is no option of snapkv"), std::string::npos);
  EXPECT_NE(refusal("pyramidkv:64,beta=0.5").find("beta 0.5"), std::string::npos);
  EXPECT_NE(refusal("adakv:64,floor=2").find("floor 2"), std::string::npos);
  EXPECT_NE(refusal("expected:4").find("sinks 4, expected a whole number from 0 to 3"), std::string::npos);
  EXPECT_NE(refusal("expected:8,cov=2").find("cov 2"), std::string::npos);
  EXPECT_NE(refusal("expected:8,window=2").find("is no option of expected"), std::string::npos);
  EXPECT_NE(refusal("kvzip:8,chunk=8").find("chunk 8, expected a whole number from 16"), std::string::npos);
  EXPECT_NE(refusal("quest:31").find("a budget of 31 tokens, expected at least 32"), std::string::npos);
  EXPECT_NE(refusal("quest:64,newest=4").find("expected at least 80"), std::string::npos);
  EXPECT_NE(refusal("quest:64,page=24").find("pages of 24 tokens, expected a power of two"), std::string::npos);
  EXPECT_NE(refusal("quest:64,page=0").find("page 0"), std::string::npos);
  EXPECT_NE(refusal("quest:64,own=2").find("own 2"), std::string::npos);
  EXPECT_NE(refusal("quest:64,full=1.5").find("full 1.5"), std::string::npos);
  EXPECT_NE(refusal("quest:64,certified=1").find("certified 1"), std::string::npos);
  EXPECT_NE(refusal("quest:64,certified=nan").find("certified nan"), std::string::npos);
}

}  // namespace
}  // namespace hunch
