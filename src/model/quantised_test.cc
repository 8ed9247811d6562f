// Models of quantised checkpoints: logits from the folder and from the GGUF of it. io/quantised_folder_test.cc has the
// matrices.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "io/gguf.h"
#include "io/test_quantised_folders.h"
#include "kernels/each_target.h"
#include "kernels/ops.h"
#include "model/golden_data.h"
#include "model/open_model.h"
#include "model/transformer.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

constexpr float kTolerance = 1e-4f;  // of logits, in f32 arithmetic

bool is_expert_part(const fs::path& folder) { return folder.filename() == "mxfp4_gptoss_mlp"; }

class Quantised : public ::testing::TestWithParam<fs::path> {
 protected:
  fs::path folder_ = GetParam();
};

std::vector<float> all_logits(ModelFile file, std::span<const int32_t> ids) {
  Compute compute(2);
  const Model model(std::move(file), {}, compute);
  KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), 512);
  Transformer transformer(model, cache, compute);
  std::vector<uint32_t> rows(ids.size());
  for (uint32_t i = 0; i < rows.size(); ++i) rows[i] = i;
  const Run run{cache.create(), ids.size(), Phase::kPrompt, nullptr};
  const MatView<const float> logits = transformer.run({ids, {&run, 1}, rows});
  return {logits.data, logits.data + logits.rows * logits.cols};
}

float worst(std::span<const float> got, std::span<const float> want) {
  if (got.size() != want.size()) return INFINITY;
  float out = 0;
  for (size_t i = 0; i < got.size(); ++i)
    out = std::max(out, std::isnan(got[i]) ? INFINITY : std::abs(got[i] - want[i]));
  return out;
}

TEST_P(Quantised, LogitsFromTheFolderAndFromItsGguf) {
  if (is_expert_part(folder_)) GTEST_SKIP() << "no whole model";
  const WithoutTiles without;  // which lose some of 16-bit weights
  const OpenedModel first = open_model(folder_);
  EXPECT_EQ(first.unused, std::vector<std::string>());
  EXPECT_EQ(first.unread, std::vector<std::string>());
  std::vector<std::vector<int32_t>> prompts = {{1, 2, 3, 39, 5}};
  std::vector<std::vector<float>> want;
  if (fs::exists(folder_ / "golden")) {
    const GoldenData golden(folder_ / "golden");
    prompts.clear();
    for (size_t s = 0; s < golden.sequences.size(); ++s) {
      prompts.push_back(golden.sequences[s].ids);
      want.push_back(golden.array("s" + std::to_string(s) + ".logits"));
    }
  } else {
    want.push_back(all_logits(open_model(folder_, nullptr, QuantisedAs::kFloats).file, prompts[0]));
  }
  float largest = 0;
  for (const auto& logits : want)
    for (const float v : logits) largest = std::max(largest, std::abs(v));
  for (const QuantisedAs as : {QuantisedAs::kAuto, QuantisedAs::kFloats, QuantisedAs::kBlocks}) {
    // Blocks: the weights are the same, but inputs of products with integers are rounded to int8.
    const std::vector<QuantisedReport::Became> became = open_model(folder_, nullptr, as).quantised.became;
    const bool rounds = std::ranges::any_of(became, [](const auto& b) { return !multiplies_floats(b.dtype); });
    const float tolerance = rounds ? 0.05f * largest : kTolerance;
    const fs::path path =
        fs::temp_directory_path() / fmt::format("hunch_quantised_{}_{}.gguf", folder_.filename().string(), getpid());
    write_gguf(path, open_model(folder_, nullptr, as).file);
    // Without goldens the folder's own floats are what is wanted, whose numbers io/quantised_folder_test holds.
    const bool is_itself = as == QuantisedAs::kFloats && !fs::exists(folder_ / "golden");
    for (size_t s = 0; s < prompts.size(); ++s) {
      if (!is_itself)
        EXPECT_LE(worst(all_logits(open_model(folder_, nullptr, as).file, prompts[s]), want[s]), tolerance) << int(as);
      EXPECT_LE(worst(all_logits(open_model(path).file, prompts[s]), want[s]), tolerance) << int(as);
    }
    fs::remove(path);
  }
}

INSTANTIATE_TEST_SUITE_P(, Quantised, ::testing::ValuesIn(quantised_folders()), [](const auto& param) {
  const bool ours = param.param.parent_path() == kQuantisedFixtures;
  return (ours ? "own_" : "") + param.param.filename().string();
});

}  // namespace
}  // namespace hunch
