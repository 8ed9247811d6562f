// Weights that stay zero, pruning while training, and layers that are left alone.
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "io/test_bytes.h"
#include "train/example_source.h"
#include "train/test_networks.h"
#include "train/trainer.h"

namespace hunch {
namespace {

size_t n_zeros(const Parameter& p) { return size_t(std::ranges::count(p.values(), 0.0f)); }

TEST(Prune, TakesTheSmallestOfEachMatrixAndOfEqualsTheFirst) {
  TestModel m("llama_mha");
  Network network(m.model, m.compute);
  network.train_all();
  Parameter& up = *network.blocks()[0]->up.weights();
  for (size_t i = 0; i < up.size(); ++i) up.values()[i] = i < 6 ? (i % 2 ? -2.0f : 2.0f) : 3.0f + float(i);
  up.values()[3] = 0.5f;
  network.blocks()[0]->up.prune(4.0 / double(up.size()));
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(up.values()[i] == 0, i < 4) << i;
  network.prune(0.3);
  for (const auto& p : network.parameters.all) {
    const bool in_block = p->layer != Parameter::kNoLayer && p->value.rows > 1;
    if (in_block) EXPECT_EQ(n_zeros(*p), size_t(std::lround(0.3 * double(p->size())))) << p->name;
    if (p->name == "token_embd.weight") EXPECT_EQ(n_zeros(*p), 0u);
  }
}

TrainerOptions few_steps(size_t n_steps) {
  TrainerOptions o;
  o.n_steps = n_steps;
  o.n_warmup = 1;
  o.n_ctx = 12;
  o.n_batch = 2;
  o.learning_rate = 1e-2;
  return o;
}

// ProSparse's two schedules, over 16 steps: L1 over twelve of them, the threshold in the last quarter.
TEST(ReluTraining, PenaltyRisesInStagesAndTheThresholdAtTheEnd) {
  TestModel m("llama_mha");
  Network network(m.model, m.compute);
  network.train_all();
  network.become_relu();
  TrainerOptions o = few_steps(16);
  o.l1 = 0.5;
  o.l1_stages = 3;
  o.threshold = 0.25;
  const std::vector<int32_t> ids = random_ids(100, m.model.config().n_vocab, 5);
  Trainer trainer(network, ids, {}, o);
  const TrainedBlock& block = *network.blocks()[0];
  const double rows = double(o.n_batch * o.n_ctx * block.up.base().n_out);
  double last_l1 = -1;
  for (size_t step = 0; step < 16; ++step) {
    trainer.step();
    const double l1 = double(block.l1) * rows;
    EXPECT_GE(l1, last_l1);
    last_l1 = l1;
    if (step % 4 == 0) EXPECT_NEAR(l1, 0.5 * double(std::min<size_t>(3, step / 4)) / 3, 1e-6) << "level between stages";
    if (step == 2) EXPECT_NEAR(l1, 0.5 / 6, 1e-6) << "half way up the first";
    const double share = std::clamp((double(step + 1) / 16 - 0.75) / 0.15, 0.0, 1.0);
    EXPECT_NEAR(block.threshold, 0.25 * share, 1e-6) << "after step " << step;
  }
  EXPECT_EQ(block.threshold, 0.25f);
  Network silu(m.model, m.compute);
  silu.train_all();
  EXPECT_THROW(Trainer(silu, ids, {}, o), Error) << "a threshold of no ReLU";
}

TEST(KeepZeros, TheyStayThroughEveryOptimiser) {
  for (const OptimizerKind kind : {OptimizerKind::kAdamW, OptimizerKind::kLion, OptimizerKind::kMuon}) {
    TestModel m("llama_mha");
    Network network(m.model, m.compute);
    network.train_all();
    network.prune(0.5);
    const Parameter& q = *network.blocks()[1]->q.weights();
    const std::vector<float> before(q.values().begin(), q.values().end());
    TrainerOptions o = few_steps(4);
    o.optimizer.kind = kind;
    const std::vector<int32_t> ids = random_ids(100, m.model.config().n_vocab, 5);
    Trainer(network, ids, {}, o).run();
    size_t n_changed = 0;
    for (size_t i = 0; i < before.size(); ++i) {
      if (before[i] == 0) EXPECT_EQ(q.values()[i], 0.0f);
      n_changed += before[i] != q.values()[i];
    }
    EXPECT_GT(n_changed, before.size() / 3);
  }
}

TEST(Prune, FollowsItsScheduleAndGoesOnToTheBit) {
  TempDir dir("prune");
  TrainerOptions o = few_steps(12);
  o.prune = PruningSchedule{.final = 0.6, .begin = 2, .every = 2, .n_changes = 3};
  o.checkpoint_every = 0;
  const auto run = [&](const TrainerOptions& options, size_t stop_at, std::vector<size_t>* zeros) {
    TestModel m("llama_mha");
    Network network(m.model, m.compute);
    network.train_all();
    const std::vector<int32_t> ids = random_ids(300, m.model.config().n_vocab, 5);
    Stop stop;
    m.compute.stop = &stop;
    const Parameter& down = *network.blocks()[0]->down.weights();
    try {
      Trainer(network, ids, {}, options).run([&](const TrainProgress& p) {
        if (zeros) zeros->push_back(n_zeros(down) * 1000 / down.size());
        if (p.step == stop_at) stop.request();
      });
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kInterrupted) << e.what();
    }
    return std::vector<float>(down.values().begin(), down.values().end());
  };
  std::vector<size_t> zeros;
  const std::vector<float> whole = run(o, 1000, &zeros);
  ASSERT_EQ(zeros.size(), 12u);
  EXPECT_EQ(zeros[1], 0u);
  EXPECT_NEAR(double(zeros[4]), 1000 * scheduled_sparsity(*o.prune, 4), 1.5);
  EXPECT_NEAR(double(zeros[6]), 1000 * scheduled_sparsity(*o.prune, 6), 1.5);
  EXPECT_NEAR(double(zeros[11]), 600, 1.5);
  o.checkpoint = dir.path / "run.checkpoint";
  run(o, 7, nullptr);
  EXPECT_EQ(run(o, 1000, nullptr), whole);
}

TEST(OnlyLayers, TheOthersAreNoParametersAndTheirsAreTheGradients) {
  TestModel m("llama_mha");
  const TokenBatch batch = random_batch(m.model, {2, 10});
  Network all(m.model, m.compute), one(m.model, m.compute);
  const std::vector<size_t> kLast = {m.model.config().n_layer - 1};
  one.only_layers(kLast);
  size_t n_compared = 0;
  for (Network* network : {&all, &one}) {
    network->train_all();
    network->parameters.allocate_gradients(GradientMemory::kAll);
    network->backward(batch, cross_entropy(m.compute, batch, 1));
  }
  for (const auto& p : one.parameters.all) {
    EXPECT_EQ(p->layer, kLast[0]) << p->name;
    for (const auto& same : all.parameters.all) {
      if (same->name != p->name) continue;
      ++n_compared;
      EXPECT_LE(worst_difference(p->grads(), same->grads()), 1e-6f) << p->name;
    }
  }
  EXPECT_GE(n_compared, 9u);
  for (const std::vector<size_t>& wrong : {std::vector<size_t>{}, {99}}) EXPECT_THROW(one.only_layers(wrong), Error);
}

TEST(ExampleSource, AnswersCountAndPromptsDoNot) {
  const std::vector<Example> examples = {{{1, 2, 3, 4, 5}, 3}, {{6, 7}, 1}, {{8, 9, 10}, 2}};
  ExampleSource source(examples, 8, 1);
  const TokenBatch batch = source.batch(0, 3);
  EXPECT_EQ(batch.shape.n_sequences, 3u);
  EXPECT_EQ(batch.shape.n_tokens, 4u);
  std::vector<int32_t> answers;
  for (size_t t = 0; t < 12; ++t)
    if (batch.targets[t] != TokenBatch::kNoTarget) {
      answers.push_back(batch.targets[t]);
      EXPECT_EQ(batch.targets[t], batch.ids[t] + 1) << "what follows it";
    }
  std::ranges::sort(answers);
  EXPECT_EQ(answers, (std::vector<int32_t>{4, 5, 7, 10}));
  EXPECT_EQ(ExampleSource(examples, 8, 1).batch(3, 3).ids, source.batch(3, 3).ids)
      << "the second pass, without the first";
  std::set<int32_t> firsts;
  const TokenBatch second = source.batch(3, 3);
  for (size_t s = 0; s < 3; ++s) firsts.insert(second.ids[s * second.shape.n_tokens]);
  EXPECT_EQ(firsts, (std::set<int32_t>{1, 6, 8}));
  EXPECT_EQ(longest_example(examples), 4u);
  EXPECT_EQ(examples_in_order(examples, 2).size(), 2u);
  for (const std::vector<Example>& wrong :
       {std::vector<Example>{}, {{{1, 2}, 2}}, {{{1, 2}, 0}}, {{std::vector<int32_t>(10, 1), 1}}})
    EXPECT_THROW(ExampleSource(wrong, 8, 1), Error);
}

}  // namespace
}  // namespace hunch
