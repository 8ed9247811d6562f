// A merged file computes what the model computes with the adapter beside it.
#include "compress/merge_adapter.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <utility>

#include "compress/convert.h"
#include "io/gguf.h"
#include "io/test_bytes.h"
#include "model/open_model.h"
#include "model/test_steps.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

const std::vector<int32_t> kIds = {5, 9, 2, 40, 7, 7, 31, 12};

std::vector<float> logits_of(const Model& model, Compute& compute, const Adapter* adapter) {
  KvCache cache(Transformer::kv_shape(model.config()), 64);
  Transformer transformer(model, cache, compute);
  Run run{cache.create(), kIds.size()};
  run.adapter = adapter;
  const std::vector<uint32_t> rows = rows_up_to(kIds.size());
  const MatView<const float> logits = transformer.run({kIds, {&run, 1}, rows});
  return {logits.data, logits.data + logits.rows * logits.cols};
}

struct Case {
  const char* fixture;
  DType dtype = DType::kF32;
  DownFile down = DownFile::kRows;
  float tolerance = 1e-4f;  // of the logits; more where the sums are rounded to the file's dtype
};

class Merge : public ::testing::TestWithParam<Case> {
 protected:
  Merge() {
    convert_model(open_model(golden_fixture(GetParam().fixture)).file, base_, {GetParam().dtype, GetParam().down},
                  compute_);
  }
  Compute compute_{2};
  TempDir dir_{"merge"};
  fs::path base_ = dir_.path / "base.gguf", merged_ = dir_.path / "merged.gguf";
};

TEST_P(Merge, ComputesTheSame) {
  Model model(open_model(base_).file, {}, compute_);
  const auto adapter = random_adapter(model, 1);
  const std::vector<float> before = logits_of(model, compute_, nullptr);
  model.adapt(*adapter);
  const std::vector<float> want = logits_of(model, compute_, adapter.get());
  const MergeReport report = merge_adapter(model, *adapter, merged_, compute_);
  const Model merged(open_model(merged_).file, {}, compute_);
  EXPECT_LE(worst_difference(logits_of(merged, compute_, nullptr), want), GetParam().tolerance);
  EXPECT_GT(worst_difference(before, want), 4 * GetParam().tolerance) << "the adapter changes too little to tell";

  EXPECT_EQ(report.n_tensors, merged.file().tensors.size());
  EXPECT_EQ(report.notes.size(), info(GetParam().dtype).block_elems > 1 ? 1u : 0u);
  for (const Tensor& t : model.file().tensors) EXPECT_EQ(merged.file().get(t.name).dtype, t.dtype) << t.name;
}

// What the adapter leaves alone is copied, bit by bit.
TEST_P(Merge, ChangesNothingElse) {
  Model model(open_model(base_).file, {}, compute_);
  const auto all = random_adapter(model, 1);
  Adapter one("one");
  const LinearId value{1, Role::kValue};
  one.parts.emplace(value, std::move(all->parts.at(value)));
  EXPECT_EQ(merge_adapter(model, one, merged_, compute_).n_changed, 1u);
  const ModelFile merged = open_model(merged_).file;
  ASSERT_EQ(merged.tensors.size(), model.file().tensors.size());
  for (const Tensor& t : model.file().tensors)
    EXPECT_EQ(std::ranges::equal(t.data, merged.get(t.name).data), t.name != model.weights().tensors.at(value).stored)
        << t.name;
}

// As IA3 does with keys and values; in one file of them each has a tensor, in the other all are parts of one.
TEST(MergeReplaced, BiasesAreTheAdaptersAlsoWhereTheFileHasOneForSeveralMatrices) {
  Compute compute(2);
  for (const char* fixture : {"opt_sparse", "tiny_gpt2"}) {
    SCOPED_TRACE(fixture);
    const TempDir dir("merge_replaced");
    const fs::path base = dir.path / "base.gguf", merged = dir.path / "merged.gguf";
    convert_model(open_model(golden_fixture(fixture)).file, base, {DType::kF32, DownFile::kRows}, compute);
    Model model(open_model(base).file, {}, compute);
    Adapter adapter("scaled");
    std::as_const(model).weights().for_each_linear([&](const Linear& linear) {
      if (linear.id.layer != 1 || (linear.id.role != Role::kKey && linear.id.role != Role::kValue)) return;
      std::vector<float> W(linear.n_out * linear.n_in), bias(linear.bias().begin(), linear.bias().end());
      linear.decode(compute, {W.data(), linear.n_out, linear.n_in});
      ASSERT_FALSE(bias.empty());
      for (size_t r = 0; r < bias.size(); ++r) bias[r] = bias[r] * 1.5f + 0.3f;
      AdapterPart part({nullptr, 0, linear.n_in}, {nullptr, 0, linear.n_out}, {});
      part.replace(linear.id, {W.data(), linear.n_out, linear.n_in}, bias);
      adapter.parts.emplace(linear.id, std::move(part));
    });
    ASSERT_EQ(adapter.parts.size(), 2u);
    const std::vector<float> before = logits_of(model, compute, nullptr);
    model.adapt(adapter);
    const std::vector<float> want = logits_of(model, compute, &adapter);
    merge_adapter(model, adapter, merged, compute);
    const Model changed(open_model(merged).file, {}, compute);
    EXPECT_LE(worst_difference(logits_of(changed, compute, nullptr), want), 1e-4f);
    EXPECT_GT(worst_difference(before, want), 1e-3f) << "the biases change too little to tell";
  }
}

constexpr Case kCases[] = {{"opt_sparse"},
                           {"opt_sparse", DType::kF32, DownFile::kNeuron},
                           {"llama_mha", DType::kF16, DownFile::kRows, 0.01f},
                           {"llama_mha", DType::kQ8_0, DownFile::kRows, 0.2f},
                           {"qwen2_moe"},
                           {"tiny_smallthinker", DType::kF32, DownFile::kNeuron},
                           {"tiny_qwen3next"},
                           {"tiny_phi3"},
                           {"tiny_falcon"}};
INSTANTIATE_TEST_SUITE_P(Files, Merge, ::testing::ValuesIn(kCases), [](const auto& i) {
  return fmt::format("{}_{}{}", i.param.fixture, name_of(i.param.dtype),
                     i.param.down == DownFile::kNeuron ? "_by_neuron" : "");
});

}  // namespace
}  // namespace hunch
