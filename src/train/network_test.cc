// The training pass computes what inference computes, and its gradients are those of the loss.
#include "train/network.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/gemm_bf16.h"
#include "train/test_networks.h"

namespace hunch {
namespace {

constexpr SequenceShape kShape{2, 12};

class OfFixture : public ::testing::TestWithParam<const char*> {
 protected:
  TestModel m_{GetParam()};
};

TEST_P(OfFixture, LogitsAreThoseOfInference) {
  Network network(m_.model, m_.compute);
  const TokenBatch batch = random_batch(m_.model, kShape);
  const std::vector<float> want = inferred_logits(m_.model, m_.compute, batch);
  EXPECT_LE(worst_difference(logits_of(network, batch), want), 2e-5f);
  network.train_all();
  EXPECT_LE(worst_difference(logits_of(network, batch), want), 2e-5f) << "with weights of its own";
}

// The slope of the loss along `z` of one parameter.
double slope(Network& network, const TokenBatch& batch, Parameter& p, const std::vector<float>& z, double step) {
  const std::vector<float> before(p.values().begin(), p.values().end());
  const auto at = [&](double distance) {
    for (size_t i = 0; i < z.size(); ++i) p.values()[i] = before[i] + float(distance * z[i]);
    return mean_loss(network, batch);
  };
  const double above = at(step), below = at(-step);
  std::ranges::copy(before, p.values().begin());
  return (above - below) / (2 * step);
}

// Along the gradient itself, whose slope is its length, and along random directions of length 1.
void expect_gradients_of_loss(Network& network, const TokenBatch& batch) {
  network.parameters.allocate_gradients(GradientMemory::kAll);
  const double loss = network.backward(batch, cross_entropy(network.compute(), batch, 1));
  EXPECT_NEAR(loss, mean_loss(network, batch), 1e-6);
  for (const auto& p : network.parameters.all) {
    const std::vector<float> g(p->grads().begin(), p->grads().end());
    const double length = std::sqrt(double(dot(g, g)));
    ASSERT_TRUE(std::isfinite(length)) << p->name;
    for (const uint64_t direction : {0, 1, 2}) {
      std::vector<float> z = g;
      RandomValues random(direction, p->name);
      if (direction > 0 || length == 0)
        for (float& v : z) v = random.normal();
      scale(float(1 / std::sqrt(double(dot(z, z)))), z);
      // So small where there are a ReLU's corners that few are met, and the rounding of f32 shows; else larger.
      const bool corners = network.model().config().activation == Activation::kRelu;
      const double step = corners ? 1.5e-4 : 4e-3;
      const double want = slope(network, batch, *p, z, step), got = dot(g, z);
      EXPECT_NEAR(got, want, (corners ? 4e-3 : 1.5e-3) + 0.02 * std::abs(want)) << p->name << " along " << direction;
    }
  }
}

TEST_P(OfFixture, GradientsAreThoseOfTheLoss) {
  Network network(m_.model, m_.compute);
  network.train_all();
  expect_gradients_of_loss(network, random_batch(m_.model, kShape));
}

TEST_P(OfFixture, GradientsOfAdaptersAreThoseOfTheLoss) {
  for (const LowRankKind kind : {LowRankKind::kLora, LowRankKind::kRsLora}) {
    Network network(m_.model, m_.compute);
    network.add_low_rank({kind, 3, 6}, kAllRoles, 1);
    RandomValues random(11);  // with which no neuron stands at its corner
    for (const auto& p : network.parameters.all)
      for (float& v : p->values()) v += 0.1f * random.normal();
    expect_gradients_of_loss(network, random_batch(m_.model, kShape));
  }
}

TEST_P(OfFixture, GradientsOfFactorsAreThoseOfTheLoss) {
  Network network(m_.model, m_.compute);
  network.add_factors();
  RandomValues random(11);
  for (const auto& p : network.parameters.all)
    for (float& v : p->values()) v += 0.1f * random.normal();
  expect_gradients_of_loss(network, random_batch(m_.model, kShape));
}

TEST_P(OfFixture, GradientsOfVirtualTokensAreThoseOfTheLoss) {
  for (const bool keys : {false, true}) {
    Network network(m_.model, m_.compute);
    try {
      network.add_virtual_tokens(3, keys, 1);
    } catch (const Error& e) {
      EXPECT_TRUE(keys) << e.what();
      EXPECT_NE(std::string(e.what()).find("window"), std::string::npos) << e.what();
      continue;
    }
    RandomValues random(11);
    for (const auto& p : network.parameters.all)
      for (float& v : p->values()) v += 0.1f * random.normal();
    expect_gradients_of_loss(network, random_batch(m_.model, kShape));
  }
}

// Rounding of the products alone: half a part in 256 each.
TEST_P(OfFixture, ProductsInBf16AreNearThoseInF32) {
  if (!multiplies_bf16()) GTEST_SKIP() << "no bf16 products here";
  for (const bool all : {true, false}) {
    Network network(m_.model, m_.compute);
    all ? network.train_all() : network.add_low_rank({LowRankKind::kLora, 3, 6}, kAllRoles, 1);
    network.parameters.allocate_gradients(GradientMemory::kAll);
    const TokenBatch batch = random_batch(m_.model, kShape);
    std::vector<std::vector<float>> gradients;
    std::vector<double> losses;
    for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
      network.set_precision(precision);
      network.parameters.zero_gradients();
      losses.push_back(network.backward(batch, cross_entropy(m_.compute, batch, 1)));
      std::vector<float>& g = gradients.emplace_back();
      for (const auto& p : network.parameters.all) g.insert(g.end(), p->grads().begin(), p->grads().end());
    }
    EXPECT_NEAR(losses[1], losses[0], 0.02 * losses[0]);
    EXPECT_NE(losses[1], losses[0]);
    const double cosine = double(dot(gradients[0], gradients[1])) /
                          std::sqrt(double(dot(gradients[0], gradients[0])) * double(dot(gradients[1], gradients[1])));
    EXPECT_GT(cosine, 0.995) << (all ? "all weights" : "adapters");
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, OfFixture,
                         ::testing::Values("opt_sparse", "llama_mha", "tiny_llama", "tiny_opt", "tiny_qwen2",
                                           "tiny_gemma", "tiny_granite", "tiny_nemotron", "tiny_starcoder2",
                                           "tiny_smollm3", "tiny_qwen3", "tiny_gemma2"),
                         [](const auto& i) { return i.param; });

// The norm of DoRA's rows is taken as a constant of the step: with magnitudes that follow it, the slope is the
// gradient's.
TEST(Dora, ChangesNothingAtFirstAndFollowsItsMagnitudes) {
  TestModel m("llama_mha");
  Network network(m.model, m.compute);
  const TokenBatch batch = random_batch(m.model, kShape);
  const std::vector<float> before = logits_of(network, batch);
  network.add_low_rank({LowRankKind::kDora, 3, 6}, kAllRoles, 1);
  EXPECT_LE(worst_difference(logits_of(network, batch), before), 2e-5f);
  RandomValues random(7);
  for (const auto& p : network.parameters.all)
    for (float& v : p->values()) v *= 1 + 0.1f * random.normal();
  for (const auto& p : network.parameters.all)
    if (p->name.ends_with("lora_b"))
      for (float& v : p->values()) v = 0.1f * random.normal();
  network.refresh();
  // Norms stay those of this refresh() while the loss is looked at around it: constants, as in the gradient.
  expect_gradients_of_loss(network, batch);
}

class GradientBits : public ::testing::TestWithParam<std::tuple<bool, Precision, SequenceShape>> {};

TEST_P(GradientBits, DoNotDependOnThreads) {
  const auto [all, precision, shape] = GetParam();
  if (precision == Precision::kBf16 && !multiplies_bf16()) GTEST_SKIP() << "no bf16 products here";
  std::vector<float> first;
  for (const size_t n_threads : {1, 2, 3}) {
    TestModel m("llama_mha", n_threads);
    Network network(m.model, m.compute);
    if (all) network.train_all();
    network.add_low_rank({LowRankKind::kDora, 4, 8}, kAllRoles, 1);
    network.set_precision(precision);
    RandomValues random(5);  // B is zero at first, and so is A's gradient
    for (const auto& p : network.parameters.all)
      for (float& v : p->values()) v += 0.05f * random.normal();
    network.parameters.allocate_gradients(GradientMemory::kAll);
    const TokenBatch batch = random_batch(m.model, shape);
    std::vector<float> got = {float(network.backward(batch, cross_entropy(m.compute, batch, 1)))};
    for (const auto& p : network.parameters.all) got.insert(got.end(), p->grads().begin(), p->grads().end());
    if (first.empty()) first = got;
    EXPECT_EQ(got, first) << n_threads << " threads";
  }
}

// Of few rows too, which a product with weights that are left alone might share out otherwise.
INSTANTIATE_TEST_SUITE_P(Passes, GradientBits,
                         ::testing::Combine(::testing::Bool(), ::testing::Values(Precision::kF32, Precision::kBf16),
                                            ::testing::Values(SequenceShape{3, 40}, SequenceShape{1, 5},
                                                              SequenceShape{2, 10})));

// Two questions, of three choices and of two.
TEST(ChoiceLoss, IsMinusTheLogOfTheRightShareAndItsGradients) {
  TestModel m("llama_mha");
  Network network(m.model, m.compute);
  network.train_all();
  TokenBatch batch = random_batch(m.model, {5, 8});
  batch.questions = {{0, 3, 1}, {3, 2, 0}};
  for (size_t t = 0; t < batch.targets.size(); ++t)
    if (t % 8 < 5) batch.targets[t] = TokenBatch::kNoTarget;
  const std::vector<float> logits = logits_of(network, batch);
  const size_t n_vocab = m.model.config().n_vocab;
  std::vector<double> scores(5, 0.0);
  for (size_t t = 0; t < batch.targets.size(); ++t) {
    const std::span<const float> row = std::span(logits).subspan(t * n_vocab, n_vocab);
    if (batch.targets[t] != TokenBatch::kNoTarget)
      scores[t / 8] += double(row[size_t(batch.targets[t])]) - log_sum_exp(row);
  }
  double want = 0;
  for (const ChoiceGroup& q : batch.questions) {
    double sum = 0;
    for (size_t c = 0; c < q.n; ++c) sum += std::exp(scores[q.first + c]);
    want += (std::log(sum) - scores[q.first + q.gold]) / 2;
  }
  EXPECT_NEAR(choice_loss(network, batch, 1), want, 1e-4);
  network.parameters.allocate_gradients(GradientMemory::kAll);
  EXPECT_NEAR(network.backward(batch, choice_gradient(network, batch, 1)), want, 1e-4);
  for (Parameter* p : {network.blocks()[0]->q.weights(), network.blocks()[1]->down.weights()}) {
    const std::vector<float> g(p->grads().begin(), p->grads().end()), before(p->values().begin(), p->values().end());
    const double length = std::sqrt(double(dot(g, g)));
    ASSERT_GT(length, 1e-3);
    constexpr double kStep = 4e-3;
    double at[2];
    for (const int side : {0, 1}) {
      for (size_t i = 0; i < g.size(); ++i) p->values()[i] = before[i] + float((side ? kStep : -kStep) * g[i] / length);
      at[side] = choice_loss(network, batch, 1);
    }
    std::ranges::copy(before, p->values().begin());
    EXPECT_NEAR((at[1] - at[0]) / (2 * kStep), length, 1.5e-3 + 0.02 * length) << p->name;
  }
}

// A block of OPT whose down projection adds up the neurons, which are at least 0: their sum is the penalty.
TEST(TrainedBlock, L1IsThePenaltyOfAbsoluteActivations) {
  TestModel m("opt_sparse");
  Network network(m.model, m.compute);
  network.train_all();
  network.parameters.allocate_gradients(GradientMemory::kAll);
  TrainedBlock& block = *network.blocks()[1];
  const size_t n = kShape.n_rows(), n_embd = m.model.config().n_embd;
  const SoloComputes solo(m.compute.threads.n_threads());
  const TrainedBlock::Pass pass{m.compute, solo, Precision::kF32, kShape, {}};
  RandomValues random(1);
  std::vector<float> entering(n * n_embd), zeros(n * n_embd, 0.0f);
  for (float& v : entering) v = random.normal();
  const auto first_sum = [&](float down) {
    std::ranges::fill(block.down.weights()->values(), down);
    std::vector<float> stream = entering;
    block.forward(pass, {stream.data(), n, n_embd});
    double sum = 0;
    for (size_t t = 0; t < n; ++t) sum += stream[t * n_embd];
    return sum;
  };
  constexpr float kL1 = 0.3f;
  const auto penalty = [&] { return kL1 * (first_sum(1) - first_sum(0)); };
  block.l1 = kL1;
  block.backward(pass, {entering.data(), n, n_embd}, {zeros.data(), n, n_embd});
  Parameter& up = *block.up.weights();
  const double length = std::sqrt(double(dot(up.grads(), up.grads())));
  ASSERT_GT(length, 0.1);
  constexpr double kStep = 1e-3;
  double above = 0, below = 0;
  for (const double way : {1.0, -1.0, 0.0}) {
    for (size_t i = 0; i < up.size(); ++i)
      up.values()[i] += float((way == 0 ? kStep : way == 1 ? kStep : -2 * kStep) * up.grads()[i] / length);
    (way == 1 ? above : below) = way == 0 ? below : penalty();
  }
  EXPECT_NEAR((above - below) / (2 * kStep), length, 0.02 * length);
}

TEST(Network, SequencesDoNotSeeEachOther) {
  TestModel m("opt_sparse");
  Network network(m.model, m.compute);
  const TokenBatch both = random_batch(m.model, kShape);
  TokenBatch second{{1, kShape.n_tokens},
                    {both.ids.begin() + kShape.n_tokens, both.ids.end()},
                    {both.targets.begin() + kShape.n_tokens, both.targets.end()}};
  const std::vector<float> all = logits_of(network, both), alone = logits_of(network, second);
  EXPECT_LE(worst_difference(std::span(all).subspan(alone.size()), alone), 1e-5f);
}

TEST(Network, RefusesWhatItDoesNotCoverByName) {
  const std::pair<const char*, const char*> kRefused[] = {{"tiny_phi2", "side by side"},
                                                          {"tiny_mixtral", "experts"},
                                                          {"tiny_bloom", "norm of the embedding"},
                                                          {"tiny_deepseek3", "latent attention"},
                                                          {"tiny_lfm2", "a mixer other than attention"},
                                                          {"tiny_gptoss", "experts"},
                                                          {"tiny_mpt", "ALiBi"},
                                                          {"tiny_drelu", "up is changed"},
                                                          {"tiny_olmo", "clipped"},
                                                          {"tiny_mistral3", "temperatures"},
                                                          {"opt_350m_style", "another width"},
                                                          {"tiny_bitnet", "normalised or rounded"}};
  for (const auto& [fixture, word] : kRefused) {
    TestModel m(fixture);
    try {
      Network network(m.model, m.compute);
      ADD_FAILURE() << fixture << " is trained";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << fixture << ": " << e.what();
    }
  }
}

}  // namespace
}  // namespace hunch
