// Files by neuron compute what files by row compute, bit for bit, experts and shared ones too.
#include "compress/convert.h"

#include <gtest/gtest.h>

#include "io/test_bytes.h"
#include "model/open_model.h"
#include "model/test_steps.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

class ByNeuron : public ::testing::TestWithParam<const char*> {};

TEST_P(ByNeuron, ComputesTheSameAndNeedsNoTurningAtLoad) {
  Compute compute(2);
  const TempDir dir("convert");
  const std::vector<int32_t> ids = {5, 9, 2, 40, 7, 7, 31, 12};
  std::vector<std::vector<float>> all;
  for (const DownFile down : {DownFile::kRows, DownFile::kNeuron}) {
    const fs::path path = dir.path / (down == DownFile::kRows ? "rows.gguf" : "neuron.gguf");
    convert_model(open_model(golden_fixture(GetParam())).file, path, {DType::kF32, down}, compute);
    const Model model(open_model(path).file, {}, compute);
    size_t n_turned = 0;
    for (const auto& [id, where] : model.weights().tensors) {
      if (id.role != Role::kDown) continue;
      EXPECT_EQ(where.by_input, down == DownFile::kNeuron) << where.stored;
      EXPECT_EQ(where.stored.find("ffn_down_t") != where.stored.npos, down == DownFile::kNeuron);
      n_turned += where.by_input;
    }
    EXPECT_EQ(n_turned > 0, down == DownFile::kNeuron);
    KvCache cache(Transformer::kv_shape(model.config()), 64);
    Transformer transformer(model, cache, compute);
    const Plan exact = Plan::exact(model.config());
    const hunch::Run run{cache.create(), ids.size(), Phase::kDecode, &exact};
    const std::vector<uint32_t> rows = rows_up_to(ids.size());
    const MatView<const float> logits = transformer.run({ids, {&run, 1}, rows});
    all.emplace_back(logits.data, logits.data + logits.rows * logits.cols);
  }
  EXPECT_EQ(worst_difference(all[0], all[1]), 0.0f);
}

INSTANTIATE_TEST_SUITE_P(Models, ByNeuron,
                         ::testing::Values("tiny_opt", "tiny_nemotronh", "tiny_nemotronhmoe", "tiny_smallthinker"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace hunch
