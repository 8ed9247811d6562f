// Quantisation-aware training: straight-through gradients, learned clipping, and what is written.
#include <gtest/gtest.h>

#include "formats/format.h"
#include "io/gguf.h"
#include "io/golden_arrays.h"
#include "io/test_bytes.h"
#include "train/gradients.h"
#include "train/save.h"
#include "train/test_networks.h"
#include "train/trainer.h"

namespace hunch {
namespace {

// torch's fake quantisers, where ../shared has them: gradients of weights, and of learned steps.
TEST(RoundingGradient, IsThatOfTorchsFakeQuantisers) {
  const auto folder = shared_path("golden/algos2");
  if (!folder) GTEST_SKIP() << "no ../shared/golden";
  const GoldenArrays golden(*folder / "qat_ste");
  const auto x = golden.get<float>("x"), G = golden.get<float>("G"), W = golden.get<float>("W");
  const size_t n = x.shape[0], n_in = x.shape[1], n_out = G.shape[1];
  for (const auto& [name, config] : golden.configs().items()) {
    const bool learned = name.starts_with("lsq");
    const auto fq = golden.get<float>(name + ".fq"), want = golden.get<float>(name + ".dW");
    const float low = config.at("qmin"), high = config.at("qmax");
    double scale_gradient = 0;
    for (size_t r = 0; r < n_out; ++r) {
      const float scale = learned ? config.at("scale").get<float>() : golden.get<float>(name + ".scale").values[r];
      const float zero =
          learned ? config.at("zero").get<float>() : float(golden.get<int32_t>(name + ".zero").values[r]);
      std::vector<float> d(n_in, 0.0f);
      for (size_t t = 0; t < n; ++t)
        for (size_t i = 0; i < n_in; ++i) d[i] += G.row(t)[r] * x.row(t)[i];
      scale_gradient += double(rounding_gradient(
          W.row(r), fq.row(r), {(low - zero - 0.5f) * scale, (high - zero + 0.5f) * scale}, scale, d));
      for (size_t i = 0; i < n_in; ++i) EXPECT_NEAR(d[i], want.row(r)[i], 1e-4) << name << " " << r << "," << i;
    }
    if (learned) EXPECT_NEAR(scale_gradient, golden.get<float>(name + ".dscale").values[0], 2e-3) << name;
  }
}

TEST(RoundingGradient, ClippedWeightsGetNoneAndTheirBoundGetsTheirs) {
  const std::vector<float> w = {0.5f, -0.2f, 3.0f, -4.0f}, rounded = {0.6f, -0.3f, 2.0f, -2.0f};
  std::vector<float> d = {1, 2, 3, 4};
  EXPECT_NEAR(rounding_gradient(w, rounded, {-2, 2}, 2, d), (1 * 0.1 + 2 * -0.1 + 3 * 2.0 + 4 * -2.0) / 2, 1e-6);
  EXPECT_EQ(d, (std::vector<float>{1, 2, 0, 0}));
}

TEST(LearnedClipping, BeginsWithNoneAndIsWrittenAsItWasTrained) {
  double plain = 0;
  for (const bool learns : {false, true}) {
    const TempDir dir("clipping");
    TestModel m("llama_mha");
    Network network(m.model, m.compute);
    network.train_all();
    network.round_weights(DType::kQ4_0);
    const TokenBatch batch = random_batch(m.model, {2, 12});
    const double before = mean_loss(network, batch);
    if (learns) {
      Network clipped(m.model, m.compute);
      clipped.train_all();
      clipped.round_weights(DType::kQ4_0, true);
      EXPECT_NEAR(mean_loss(clipped, batch), before, 1e-5) << "at first nothing is clipped";
    }
    Network trained(m.model, m.compute);
    trained.train_all();
    trained.round_weights(DType::kQ4_0, learns);
    TrainerOptions o;
    o.n_steps = 20;
    o.n_warmup = 2;
    o.n_ctx = 12;
    o.n_batch = 2;
    o.learning_rate = 5e-3;
    const std::vector<int32_t> ids = random_ids(60, m.model.config().n_vocab, 5);
    const TrainerReport report = Trainer(trained, ids, ids, o).run();
    EXPECT_LT(report.held_out_after, 0.9 * report.held_out_before);
    if (learns) EXPECT_LT(report.held_out_after, plain + 0.1);
    plain = report.held_out_after;
    size_t n_moved = 0;
    for (const auto& p : trained.parameters.all) n_moved += p->name.ends_with(".clip");
    EXPECT_EQ(n_moved, learns ? 7 * m.model.config().n_layer : 0u);
    // What is written is what was trained.
    const auto path = dir.path / "q4.gguf";
    write_trained_model(path, trained);
    const ModelFile file = open_gguf(path);
    const Projection& up = trained.blocks()[0]->up;
    const Tensor& t = file.get("blk.0.ffn_up.weight");
    EXPECT_EQ(t.dtype, DType::kQ4_0);
    std::vector<float> row(up.base().n_in), got(row.size());
    std::vector<std::byte> blocks(row_bytes(DType::kQ4_0, row.size()));
    up.clipped_row(1, row);
    codec(DType::kQ4_0).encode(row.data(), blocks.data(), row.size());
    EXPECT_TRUE(std::ranges::equal(blocks, t.data.subspan(blocks.size(), blocks.size())));
  }
}

}  // namespace
}  // namespace hunch
