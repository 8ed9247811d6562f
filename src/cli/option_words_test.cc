#include "cli/option_words.h"

#include <gtest/gtest.h>

namespace hunch::cli {
namespace {

TEST(OptionWords, AreThoseOfTheCommandLine) {
  EXPECT_EQ(with_flags("no room; a larger context (n_ctx) has it, (n_ctx)"),
            "no room; a larger context (--ctx) has it, (--ctx)");
  EXPECT_EQ(with_flags("the key policy (kv_policy) keeps (kv) so much"),
            "the key policy (--kv-policy) keeps (--kv) so much");
  EXPECT_EQ(with_flags("n_ctx and (nothing)"), "n_ctx and (nothing)");
}

}  // namespace
}  // namespace hunch::cli
