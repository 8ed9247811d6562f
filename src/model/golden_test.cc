// Every architecture against Hugging Face's own outputs: logits of all positions and the greedy
// continuation, from the HF folder and again from the GGUF that hunch writes of it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "base/test_paths.h"
#include "io/gguf.h"
#include "kernels/each_target.h"
#include "model/golden_data.h"
#include "model/open_model.h"
#include "model/transformer.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

constexpr float kTolerance = 1e-4f;  // max |logit difference| in f32 arithmetic
constexpr size_t kCacheTokens = 512;

// Logits of all positions of one sequence, [n_tokens * n_vocab]: read as a prompt without a plan, else every token is
// restricted as the plan says.
std::vector<float> all_logits(const Model& model, Compute& compute, std::span<const int32_t> ids, const Plan* plan) {
  KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), kCacheTokens);
  Transformer transformer(model, cache, compute);
  std::vector<uint32_t> rows(ids.size());
  for (uint32_t i = 0; i < rows.size(); ++i) rows[i] = i;
  const Run run{cache.create(), ids.size(), plan ? Phase::kDecode : Phase::kPrompt, plan};
  const MatView<const float> logits = transformer.run({ids, {&run, 1}, rows});
  return {logits.data, logits.data + logits.rows * logits.cols};
}

std::vector<int32_t> greedy(const Model& model, Compute& compute, std::vector<int32_t> ids, size_t n,
                            const Plan* plan) {
  KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), kCacheTokens);
  Transformer transformer(model, cache, compute);
  const KvCache::SequenceId sequence = cache.create();
  std::vector<int32_t> out;
  while (out.size() < n) {
    const Run run{sequence, ids.size(), out.empty() ? Phase::kPrompt : Phase::kDecode, plan};
    const uint32_t last = uint32_t(ids.size() - 1);
    const MatView<const float> logits = transformer.run({ids, {&run, 1}, {&last, 1}});
    ids = {int32_t(argmax(logits.row(0)))};
    out.push_back(ids[0]);
  }
  return out;
}

void expect_golden(ModelFile file, const GoldenData& golden, Compute& compute) {
  const Model model(std::move(file), {}, compute);
  const Plan exact = Plan::exact(model.config());
  for (const Plan* plan : {static_cast<const Plan*>(nullptr), &exact}) {
    SCOPED_TRACE(plan ? "exact" : "dense");
    for (size_t s = 0; s < golden.sequences.size(); ++s) {
      SCOPED_TRACE("prompt " + std::to_string(s));
      const auto& sequence = golden.sequences[s];
      const std::vector<float> got = all_logits(model, compute, sequence.ids, plan);
      const std::vector<float> want = golden.array("s" + std::to_string(s) + ".logits");
      ASSERT_EQ(got.size(), want.size());
      float worst = 0;
      for (size_t i = 0; i < got.size(); ++i)
        worst = std::max(worst, std::isnan(got[i]) ? INFINITY : std::abs(got[i] - want[i]));
      EXPECT_LE(worst, kTolerance);
      EXPECT_EQ(greedy(model, compute, sequence.ids, sequence.greedy.size(), plan), sequence.greedy);
    }
  }
}

const fs::path kFixtures = fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden";

// The shared data where it is present, else the repository's fixtures.
fs::path golden_root() { return shared_path("golden/models").value_or(kFixtures); }

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(golden_root()))
    if (fs::exists(entry.path() / "config.json")) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

fs::path golden_folder(const std::string& name) { return golden_root() / name; }

class Golden : public ::testing::TestWithParam<std::string> {
 protected:
  Compute compute_{2};
  fs::path folder_ = golden_folder(GetParam());
  // llama_sharded is llama in two files and has no outputs of its own.
  GoldenData golden_{(GetParam() == "llama_sharded" ? golden_folder("llama") : folder_) / "golden"};
};

TEST_P(Golden, LogitsAndGreedyTextFromTheHfFolder) {
  OpenedModel opened = open_model(folder_);
  EXPECT_EQ(opened.unused, std::vector<std::string>());
  expect_golden(std::move(opened.file), golden_, compute_);
}

TEST_P(Golden, LogitsAndGreedyTextFromTheGguf) {
  const fs::path path = fs::temp_directory_path() / fmt::format("hunch_golden_{}_{}.gguf", GetParam(), getpid());
  write_gguf(path, open_model(folder_).file);
  OpenedModel opened = open_model(path);
  fs::remove(path);
  EXPECT_EQ(opened.source, "GGUF");
  expect_golden(std::move(opened.file), golden_, compute_);
}

// Whole models on every SIMD target that this machine has: the fixtures, of which there are few.
TEST(GoldenTargets, FixturesAgreeOnEach) {
  Compute compute(2);
  for (const std::string& name : golden_names()) {
    if (!fs::exists(kFixtures / name / "config.json")) continue;
    SCOPED_TRACE(name);
    const GoldenData golden(kFixtures / name / "golden");
    for_each_target([&] { expect_golden(open_model(kFixtures / name).file, golden, compute); });
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Golden);
INSTANTIATE_TEST_SUITE_P(Models, Golden, ::testing::ValuesIn(golden_names()), [](const auto& i) { return i.param; });

}  // namespace
}  // namespace hunch
