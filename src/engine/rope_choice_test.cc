#include "engine/rope_choice.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/test_paths.h"
#include "engine/context.h"
#include "io/test_errors.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

fs::path fixture(const char* name) { return fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / name; }

std::vector<float> last_logits(const fs::path& model, const char* rope, size_t n) {
  EngineOptions options{.n_threads = 1};
  if (rope) options.rope = rope_choice_from(rope);
  const Engine engine = load_engine(model, options);
  ContextOptions sized;
  sized.n_ctx = n;
  Context context(engine, sized);
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(int32_t((i * 37 + i / 11) % engine.config().n_vocab));
  const std::span<const float> logits = context.append(ids);
  return {logits.begin(), logits.end()};
}

TEST(RopeChoice, WordsAreReadAndOthersAreNot) {
  EXPECT_EQ(rope_choice_from("linear:4")->kind, RopeChoice::Kind::kLinear);
  EXPECT_EQ(rope_choice_from("ntk:2.5")->factor, 2.5);
  EXPECT_EQ(rope_choice_from("dynamic")->factor, 1);
  EXPECT_EQ(rope_choice_from("yarn:4")->kind, RopeChoice::Kind::kYarn);
  EXPECT_EQ(rope_choice_from("self-extend:8,window=64")->window, 64u);
  EXPECT_EQ(rope_choice_from("self-extend:8")->factor, 8);
  EXPECT_FALSE(rope_choice_from("h2o:64"));
  EXPECT_FALSE(rope_choice_from(""));
  for (const char* wrong : {"linear", "linear:", "linear:0.5", "yarn:x", "ntk:nan", "none:2", "dynamic:-1",
                            "linear:1e9", "self-extend:", "self-extend:1.5", "self-extend:4,window=0",
                            "self-extend:4,window", "self-extend:4,sinks=4", "yarn:4,window=8"})
    EXPECT_NE(message_of(ErrorKind::kUsage, [&] { rope_choice_from(wrong); }).find(wrong), std::string::npos);
}

TEST(RopeChoice, AFactorOfOneChangesNothing) {
  const fs::path model = fixture("tiny_llama");
  const std::vector<float> want = last_logits(model, nullptr, 24);
  for (const char* rope : {"none", "linear:1", "ntk:1", "dynamic"})
    EXPECT_EQ(last_logits(model, rope, 24), want) << rope;
  for (const char* rope : {"linear:4", "ntk:4", "yarn:4"}) EXPECT_NE(last_logits(model, rope, 24), want) << rope;
}

// What a checkpoint says of itself, said again, and taken away.
TEST(RopeChoice, SaysWhatFilesSay) {
  const auto folder = shared_path("golden/models");
  if (!folder) GTEST_SKIP() << "no shared golden models";
  for (const auto& [name, rope] : {std::pair{"llama_rope_linear", "linear:2"},
                                   {"llama_rope_dynamic", "dynamic:2"},
                                   {"llama_rope_yarn", "yarn:4"}}) {
    SCOPED_TRACE(name);
    const std::vector<float> want = last_logits(*folder / name, nullptr, 100),
                             got = last_logits(*folder / name, rope, 100);
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5);
    EXPECT_NE(last_logits(*folder / name, "none", 100), want);
  }
}

TEST(RopeChoice, OfModelsThatDoNotRotateIsRefused) {
  for (const char* name : {"tiny_opt", "tiny_bloom"})
    EXPECT_NE(message_of(ErrorKind::kUnsupported, [&] { last_logits(fixture(name), "linear:2", 4); }).find("no RoPE"),
              std::string::npos);
}

}  // namespace
}  // namespace hunch
