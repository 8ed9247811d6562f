// Models that begin with random weights, and models that grow.
#include "train/new_model.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "train/test_networks.h"

namespace hunch {
namespace {

TokenBatch batch_for(const Model& model) { return random_batch(model, {2, 10}); }

class NewModelOf : public ::testing::TestWithParam<const char*> {
 protected:
  TestModel m_{GetParam()};
  std::vector<float> logits(const Model& model, const TokenBatch& batch) {
    Network network(model, m_.compute);
    return logits_of(network, batch);
  }
  Model made(ModelFile file) { return Model(std::move(file), {}, m_.compute); }
};

TEST_P(NewModelOf, HasTheShapeThatWasAskedForAndKnowsNothing) {
  const ModelConfig& c = m_.model.config();
  const size_t n_head = 2 * c.n_head / c.n_kv_head, d_head = 8;
  const ShapeChange change{
      .n_layer = 3, .n_embd = n_head * d_head, .n_ff = 40, .n_head = n_head, .n_kv_head = {}, .n_ctx = {}};
  const Model model = made(new_model(m_.model, change, DType::kF16, InitialWeights::kFanIn, 1));
  EXPECT_EQ(model.config().n_layer, 3u);
  EXPECT_EQ(model.config().n_embd, n_head * d_head);
  EXPECT_EQ(model.config().n_ff, 40u);
  EXPECT_EQ(model.config().n_vocab, c.n_vocab);
  EXPECT_EQ(model.config().arch, c.arch);
  const TokenBatch batch = batch_for(model);
  Network network(model, m_.compute);
  network.train_all();
  EXPECT_NEAR(mean_loss(network, batch), std::log(double(c.n_vocab)), 0.6);
  const std::vector<float> own = logits(model, batch);
  for (const uint64_t seed : {1, 2}) {
    const Model again = made(new_model(m_.model, change, DType::kF16, InitialWeights::kFanIn, seed));
    EXPECT_EQ(logits(again, batch) == own, seed == 1);
  }
}

TEST_P(NewModelOf, GrownItComputesTheSame) {
  const ModelConfig& c = m_.model.config();
  const TokenBatch batch = batch_for(m_.model);
  const std::vector<float> want = logits(m_.model, batch);
  const ShapeChange kChanges[] = {
      {.n_layer = 2 * c.n_layer + 1, .n_embd = {}, .n_ff = {}, .n_head = {}, .n_kv_head = {}, .n_ctx = {}},
      {.n_layer = {}, .n_embd = {}, .n_ff = c.n_ff + 13, .n_head = {}, .n_kv_head = {}, .n_ctx = {}},
      {.n_layer = c.n_layer + 1,
       .n_embd = 2 * c.n_embd,
       .n_ff = 3 * c.n_ff,
       .n_head = {},
       .n_kv_head = {},
       .n_ctx = {}}};
  for (const ShapeChange& change : kChanges) {
    if (change.n_embd && c.embedding_scale != 1.0f) {
      EXPECT_THROW(grown_model(m_.model, change, DType::kF32, 1), Error);
      continue;
    }
    const Model grown = made(grown_model(m_.model, change, DType::kF32, 1));
    EXPECT_EQ(grown.config().n_layer, change.n_layer.value_or(c.n_layer));
    EXPECT_EQ(grown.config().n_ff, change.n_ff.value_or(c.n_ff));
    EXPECT_LE(worst_difference(logits(grown, batch), want), 2e-4f)
        << grown.config().n_layer << " " << grown.config().n_ff;
  }
}

// Copies of a neuron that stay alike are no growth.
TEST(GrownModel, CopiesPartWhenTheyAreTrained) {
  TestModel m("llama_mha");
  const size_t n_ff = m.model.config().n_ff;
  const Model grown(
      grown_model(m.model, {.n_layer = {}, .n_embd = {}, .n_ff = 2 * n_ff, .n_head = {}, .n_kv_head = {}, .n_ctx = {}},
                  DType::kF32, 1),
      {}, m.compute);
  Network network(grown, m.compute);
  network.train_all();
  network.parameters.allocate_gradients(GradientMemory::kAll);
  const TokenBatch batch = batch_for(grown);
  network.backward(batch, cross_entropy(m.compute, batch, 1));
  const MatView<float> g = network.blocks()[0]->up.weights()->grad;
  double difference = 0, size = 0;
  for (size_t r = 0; r < n_ff; ++r)
    for (size_t i = 0; i < g.cols; ++i) {
      difference += std::abs(g.row(r)[i] - g.row(n_ff + r)[i]);
      size += std::abs(g.row(r)[i]);
    }
  EXPECT_GT(difference, 0.1 * size);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, NewModelOf,
                         ::testing::Values("llama_mha", "opt_sparse", "tiny_opt", "tiny_llama", "tiny_qwen2",
                                           "tiny_gemma", "tiny_qwen3"),
                         [](const auto& i) { return i.param; });

TEST(NewModel, RefusesShapesThatContradictThemselves) {
  TestModel m("llama_mha");
  const auto refused = [&](const ShapeChange& change, const char* word, bool grows) {
    try {
      grows ? grown_model(m.model, change, DType::kF16, 1)
            : new_model(m.model, change, DType::kF16, InitialWeights::kSmall, 1);
      ADD_FAILURE() << word << " was accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage);
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
    }
  };
  ShapeChange change;
  change.n_layer = 0;
  refused(change, "n_layer", false);
  change = {};
  change.n_head = 7;
  refused(change, "no multiple of 7 heads", false);
  change = {};
  change.n_kv_head = 3;
  refused(change, "cannot share 3", false);
  change = {};
  change.n_layer = 1;
  refused(change, "at least", true);
  change = {};
  change.n_embd = m.model.config().n_embd + 1;
  refused(change, "a multiple of", true);
  change = {};
  change.n_head = 8;
  refused(change, "follow from its width", true);
}

TEST(NewModel, RefusesWhatItCannotFollow) {
  for (const char* fixture : {"tiny_mixtral", "tiny_phi3", "tiny_lfm2"}) {
    TestModel m(fixture);
    EXPECT_THROW(new_model(m.model, {}, DType::kF16, InitialWeights::kSmall, 1), Error) << fixture;
  }
}

}  // namespace
}  // namespace hunch
