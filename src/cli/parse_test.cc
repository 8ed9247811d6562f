#include "cli/parse.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace hunch::cli {
namespace {

std::string refusal(auto&& call) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUsage) << e.what();
    return e.what();
  }
  return "accepted";
}

TEST(Parse, IdListsInEveryFormPeopleType) {
  const std::vector<int32_t> want = {1, 22, 333};
  for (const char* text : {"1,22,333", "1 22 333", "[1, 22, 333]", " 1,\n22,\t333\n", "1,22,333,"})
    EXPECT_EQ(parse_ids(text, "--ids"), want) << text;
  for (const char* text : {"", "[]", ",", "1,x", "1.5", "0x10", "99999999999", "1;2", "[1,2"})
    EXPECT_NE(refusal([&] { parse_ids(text, "--ids"); }).find("--ids"), std::string::npos) << text;
}

TEST(Parse, SizesAreDecimal) {
  EXPECT_EQ(parse_bytes("8G", "--m"), 8e9);
  EXPECT_EQ(parse_bytes("512MB", "--m"), 512e6);
  EXPECT_EQ(parse_bytes("1.5t", "--m"), 1.5e12);
  EXPECT_EQ(parse_bytes("4096", "--m"), 4096);
  for (const char* text : {"", "G", "8X", "0", "-1G", "8 G", "inf", "0.1"})
    EXPECT_NE(refusal([&] { parse_bytes(text, "--m"); }).find("--m"), std::string::npos) << text;
}

TEST(Parse, NumbersAreTheWholeTextOrNothing) {
  EXPECT_EQ(parse_count("42", "--n"), 42u);
  EXPECT_EQ(parse_integer("-42", "--n"), -42);
  EXPECT_DOUBLE_EQ(parse_real("-0.25e2", "--x"), -25.0);
  EXPECT_TRUE(std::isinf(parse_real("-inf", "--x")));
  for (const char* text : {"", " 1", "1 ", "-1", "+1", "1k", "18446744073709551616"})
    EXPECT_NE(refusal([&] { parse_count(text, "--n"); }).find("--n"), std::string::npos) << text;
  for (const char* text : {"", "x", "1,5", "nan"})
    EXPECT_NE(refusal([&] { parse_real(text, "--x"); }).find("--x"), std::string::npos) << text;
}

TEST(Parse, LogitBiasNamesTokensAndForbidsWithMinusInfinity) {
  const std::vector<std::string> items = {"5=1.5", "7=-inf", "5=2"};
  const auto bias = parse_logit_bias(items);
  EXPECT_EQ(bias.size(), 2u);
  EXPECT_EQ(bias.at(5), 2.0f);
  EXPECT_TRUE(std::isinf(bias.at(7)) && bias.at(7) < 0);
  for (const char* bad : {"5", "=1", "x=1", "5=", "5=y"})
    EXPECT_NE(refusal([&] { parse_logit_bias(std::vector<std::string>{bad}); }).find("--logit-bias"), std::string::npos)
        << bad;
}

TEST(Parse, ModesCarryTheBaseContext) {
  ContextOptions base;
  base.kv_type = DType::kF16;
  const auto modes = parse_modes("dense,exact,oracle:0.2", base);
  ASSERT_EQ(modes.size(), 3u);
  EXPECT_EQ(modes[0].context.mode, "dense");
  EXPECT_EQ(modes[1].context.mode, "exact");
  EXPECT_DOUBLE_EQ(modes[2].context.oracle_density, 0.2);
  EXPECT_DOUBLE_EQ(modes[1].context.oracle_density, 1);
  for (const auto& mode : modes) EXPECT_EQ(mode.context.kv_type, DType::kF16);
  EXPECT_EQ(modes[2].name, "oracle:0.2");
  EXPECT_DOUBLE_EQ(modes[2].context.oracle_head_density, 0.2);
  EXPECT_DOUBLE_EQ(parse_modes("oracle:0.2:1", base)[0].context.oracle_head_density, 1);
  EXPECT_EQ(parse_modes("sparse", base)[0].context.mode, "sparse");
  EXPECT_EQ(parse_modes("sparse", base)[0].context.density, 0);
  EXPECT_DOUBLE_EQ(parse_modes("sparse:0.25", base)[0].context.density, 0.25);
  const auto refused_of = [](const ContextOptions& options) {
    EXPECT_NE(refusal([&] { parse_modes("dense,oracle:0.2", options); }).find("leave out"), std::string::npos);
  };
  ContextOptions dense, oracle, density;
  dense.mode = "dense";
  refused_of(dense);
  oracle.oracle_head_density = 0.5;
  refused_of(oracle);
  density.density = 0.3;
  EXPECT_NE(refusal([&] { parse_modes("dense,sparse:0.2", density); }).find("--density 0.3"), std::string::npos);
  EXPECT_DOUBLE_EQ(parse_modes("dense,sparse", density)[1].context.density, 0.3);
  ContextOptions sparse;
  sparse.mode = "sparse";
  EXPECT_NE(refusal([&] { parse_modes("dense,exact", sparse); }).find("--mode sparse"), std::string::npos);
  setenv("HUNCH_MODE", "sparse", 1);  // a default of this machine, which nobody asked for here
  EXPECT_EQ(parse_modes("dense,exact", sparse).size(), 2u);
  unsetenv("HUNCH_MODE");
  for (const char* bad : {"", "sparse:", "sparse:0", "sparse:2", "oracle:", "oracle:0", "oracle:1.5", "oracle:0.2:0",
                          "oracle:0.2:x", "dense,dense"})
    EXPECT_NE(refusal([&] { parse_modes(bad, base); }).find("--compare"), std::string::npos) << bad;
}

TEST(Parse, ModesMayBeSidecars) {
  const auto modes = parse_modes("dense,a/cats.hunch,teal.hunch@0.5,x.hunch@y.hunch", {});
  ASSERT_EQ(modes.size(), 4u);
  EXPECT_EQ(modes[0].sidecar, "");
  EXPECT_EQ(modes[1].sidecar, "a/cats.hunch");
  EXPECT_EQ(modes[1].name, "a/cats.hunch");
  EXPECT_EQ(modes[1].context.density, 0);
  EXPECT_EQ(modes[2].sidecar, "teal.hunch");
  EXPECT_DOUBLE_EQ(modes[2].context.density, 0.5);
  EXPECT_EQ(modes[3].sidecar, "x.hunch@y.hunch");
  for (const char* bad : {"teal.hunch@", "teal.hunch@0", "teal.hunch@1.5", "teal.hunch@x", "a.hunch,a.hunch", "a.ggml"})
    EXPECT_NE(refusal([&] { parse_modes(bad, {}); }).find("--compare"), std::string::npos) << bad;
}

TEST(Parse, ModesMayBeOtherModels) {
  const std::string folder = ::testing::TempDir() + "/";
  const auto modes = parse_modes("dense,a/b.gguf," + folder + ",exact", {});
  ASSERT_EQ(modes.size(), 4u);
  EXPECT_EQ(modes[0].model, "");
  EXPECT_EQ(modes[1].model, "a/b.gguf");
  EXPECT_EQ(modes[1].context.mode, "dense");
  EXPECT_EQ(modes[2].model, folder);
  EXPECT_EQ(modes[3].model, "");
  for (const char* bad : {"dense,nowhere/", "dense,a.gguf,a.gguf", "a.gguf@0.5"})
    EXPECT_NE(refusal([&] { parse_modes(bad, {}); }).find("--compare"), std::string::npos) << bad;
}

TEST(Parse, NearestNameIsNearOrNotNamed) {
  const std::vector<std::string> names = {"run", "chat", "tokenize", "detokenize", "--temperature"};
  EXPECT_EQ(nearest("rum", names), "run");
  EXPECT_EQ(nearest("rnu", names), "run");  // a swap is one slip
  EXPECT_EQ(nearest("chta", names), "chat");
  EXPECT_EQ(nearest("tokenise", names), "tokenize");
  EXPECT_EQ(nearest("--temprature", names), "--temperature");
  EXPECT_EQ(nearest("serve", names), "");
  EXPECT_EQ(suggestion("serve", names), "");
}

TEST(Parse, NumaPolicies) {
  EXPECT_EQ(numa_policy("off", false), NumaPolicy::kOff);
  EXPECT_EQ(numa_policy("auto", false), NumaPolicy::kDistribute);
  EXPECT_EQ(numa_policy("auto", true), NumaPolicy::kOff);
  EXPECT_EQ(numa_policy("distribute", true), NumaPolicy::kDistribute);
  EXPECT_EQ(numa_policy("numactl", false), NumaPolicy::kDistribute);
  EXPECT_EQ(numa_policy("isolate", false), NumaPolicy::kIsolate);
  EXPECT_EQ(numa_policy("ranks", true), NumaPolicy::kRanks);
  EXPECT_THROW(numa_policy("ranks", false), Error);
  EXPECT_THROW(numa_policy("far", true), Error);
}

}  // namespace
}  // namespace hunch::cli
