// What a ReLU of any kind sets to zero is not computed, and nothing else is left out.
#include <gtest/gtest.h>

#include "model/open_model.h"
#include "model/test_steps.h"

namespace hunch {
namespace {

// Neurons that are not zero, by layer; what an MLP's experts have, together.
struct CountsNonzero final : Observer {
  explicit CountsNonzero(size_t n_layer) : live(n_layer) {}
  void on_mlp(const MlpPlace& place, MatView<const float>, MatView<const float> act) override {
    for (size_t t = 0; t < act.rows; ++t)
      for (const float value : act.row(t)) live[place.layer] += value != 0;
  }
  std::vector<uint64_t> live;
};

// Each token of a text decoded, one pass each: what was counted, and what an observer saw.
struct Decoded {
  std::vector<uint64_t> active, all, live;
};
Decoded decode(const Model& model, Compute& compute, const Plan* plan) {
  KvCache cache(Transformer::kv_shape(model.config()), 64);
  Transformer transformer(model, cache, compute);
  CountsNonzero counts(model.config().n_layer);
  transformer.observer = &counts;
  const KvCache::SequenceId sequence = cache.create();
  for (int32_t id : {5, 17, 3, 40, 22, 9}) {
    const Run run{sequence, 1, Phase::kDecode, plan};
    const uint32_t row = 0;
    transformer.run({{&id, 1}, {&run, 1}, {&row, 1}});
  }
  return {transformer.stats.active_neurons, transformer.stats.all_neurons, counts.live};
}

class ExactZeros : public ::testing::TestWithParam<const char*> {};

TEST_P(ExactZeros, AreTheNeuronsThatAreLeftOut) {
  Compute compute(1);
  const Model model(open_model(golden_fixture(GetParam())).file, {}, compute);
  const Plan exact = Plan::exact(model.config());
  const Decoded sparse = decode(model, compute, &exact), dense = decode(model, compute, nullptr);
  EXPECT_EQ(sparse.live, dense.live);
  EXPECT_EQ(sparse.active, dense.live);
  for (size_t l = 0; l < dense.live.size(); ++l) {
    if (dense.all[l] == 0) continue;
    EXPECT_GT(dense.live[l], 0u);
    EXPECT_LT(dense.live[l], dense.all[l] * 3 / 4);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, ExactZeros,
                         ::testing::Values("opt_sparse", "tiny_nemotron", "tiny_fatrelu", "tiny_drelu",
                                           "tiny_smallthinker", "tiny_bitnet"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace hunch
