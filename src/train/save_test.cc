// What is saved is what was trained: read again, it computes the same.
#include "train/save.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "io/adapter.h"
#include "io/test_bytes.h"
#include "model/bind_adapter.h"
#include "train/test_networks.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

constexpr SequenceShape kShape{2, 12};

void move_values(Network& network) {
  RandomValues random(7);
  for (const auto& p : network.parameters.all)
    for (float& v : p->values()) v += 0.05f * random.normal();
  network.refresh();
}

struct Case {
  const char* fixture;
  LowRankKind kind;
  bool folder;
  std::vector<Role> roles = kAllRoles;
};

class SavedAdapter : public ::testing::TestWithParam<Case> {};

TEST_P(SavedAdapter, ComputesWhatWasTrained) {
  TestModel m(GetParam().fixture);
  Network network(m.model, m.compute);
  const TokenBatch batch = random_batch(m.model, kShape);
  const std::vector<float> before = logits_of(network, batch);
  network.add_low_rank({GetParam().kind, 3, 5}, GetParam().roles, 1);
  move_values(network);
  const std::vector<float> want = logits_of(network, batch);
  TempDir dir("adapter");
  const fs::path path = dir.path / (GetParam().folder ? "tone" : "tone.gguf");
  GetParam().folder ? write_peft_adapter(path, network, "base", false) : write_gguf_adapter(path, network, "tone");
  const AdapterFile file = open_adapter(path);
  const AdapterChoice choice{.file = &file};
  const auto adapter = bind_adapters(m.model, m.compute, {&choice, 1});
  m.model.adapt(*adapter);
  EXPECT_LE(worst_difference(inferred_logits(m.model, m.compute, batch, adapter.get()), want), 1e-4f);
  EXPECT_GT(worst_difference(before, want), 1e-2f) << "the adapter changes too little to tell";
}

INSTANTIATE_TEST_SUITE_P(
    Files, SavedAdapter,
    ::testing::Values(Case{"llama_mha", LowRankKind::kLora, false}, Case{"llama_mha", LowRankKind::kRsLora, false},
                      Case{"llama_mha", LowRankKind::kLora, true}, Case{"llama_mha", LowRankKind::kRsLora, true},
                      Case{"llama_mha", LowRankKind::kDora, true}, Case{"tiny_llama", LowRankKind::kDora, true},
                      Case{"opt_sparse", LowRankKind::kLora, false}, Case{"opt_sparse", LowRankKind::kDora, true},
                      Case{"tiny_qwen2", LowRankKind::kLora, true, {Role::kQuery, Role::kValue}}),
    [](const auto& i) {
      return fmt::format("{}_{}_{}_{}", i.param.fixture, int(i.param.kind), i.param.folder ? "peft" : "gguf", i.index);
    });

// Keys and values of OPT have biases, its MLP has no gate; of the others factors of neurons become up's.
class SavedFactors : public ::testing::TestWithParam<const char*> {};

TEST_P(SavedFactors, ComputeWhatWasTrained) {
  TestModel m(GetParam());
  Network network(m.model, m.compute);
  const TokenBatch batch = random_batch(m.model, kShape);
  const std::vector<float> before = logits_of(network, batch);
  network.add_factors();
  EXPECT_EQ(logits_of(network, batch), before) << "factors of 1";
  RandomValues random(7);
  for (const auto& p : network.parameters.all)
    for (float& v : p->values()) v += 0.3f * random.normal();
  const std::vector<float> want = logits_of(network, batch);
  TempDir dir("factors");
  write_peft_adapter(dir.path / "ia3", network, "base", false);
  EXPECT_THROW(write_gguf_adapter(dir.path / "ia3.gguf", network, "ia3"), Error);
  const AdapterFile file = open_adapter(dir.path / "ia3");
  const AdapterChoice choice{.file = &file};
  const auto adapter = bind_adapters(m.model, m.compute, {&choice, 1});
  m.model.adapt(*adapter);
  EXPECT_LE(worst_difference(inferred_logits(m.model, m.compute, batch, adapter.get()), want), 1e-4f);
  EXPECT_LE(worst_difference(inferred_logits(m.model, m.compute, batch), before), 2e-5f) << "without it";
  EXPECT_GT(worst_difference(before, want), 1e-2f);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, SavedFactors,
                         ::testing::Values("llama_mha", "opt_sparse", "tiny_opt", "tiny_qwen2", "tiny_llama"),
                         [](const auto& i) { return i.param; });

// Embeddings, or keys and values, before every text: of grouped heads, turned or at learned positions, normalised or
// not.
class SavedVirtualTokens : public ::testing::TestWithParam<std::tuple<const char*, bool>> {};

TEST_P(SavedVirtualTokens, ComputeWhatWasTrained) {
  const auto [fixture, keys] = GetParam();
  TestModel m(fixture);
  Network network(m.model, m.compute);
  const TokenBatch batch = random_batch(m.model, kShape);
  const std::vector<float> before = logits_of(network, batch);
  const auto& layers = m.model.config().layers;
  if (keys && std::ranges::any_of(layers, [](const LayerConfig& l) { return l.window > 0; })) {
    EXPECT_THROW(network.add_virtual_tokens(5, keys, 3), Error) << "a window";
    return;
  }
  network.add_virtual_tokens(5, keys, 3);
  move_values(network);
  const std::vector<float> want = logits_of(network, batch);
  TempDir dir("virtual");
  write_peft_adapter(dir.path / "tokens", network, "base", false);
  const AdapterFile file = open_adapter(dir.path / "tokens");
  EXPECT_EQ(file.virtual_tokens.n, 5u);
  EXPECT_EQ(file.virtual_tokens.has_keys, keys);
  const AdapterChoice choice{.file = &file};
  const auto adapter = bind_adapters(m.model, m.compute, {&choice, 1});
  EXPECT_LE(worst_difference(inferred_logits(m.model, m.compute, batch, adapter.get()), want), 1e-4f);
  EXPECT_GT(worst_difference(before, want), 1e-2f);
}

INSTANTIATE_TEST_SUITE_P(
    Fixtures, SavedVirtualTokens,
    ::testing::Combine(::testing::Values("llama_mha", "tiny_llama", "opt_sparse", "tiny_qwen2", "tiny_qwen3"),
                       ::testing::Bool()),
    [](const auto& i) { return std::string(std::get<0>(i.param)) + (std::get<1>(i.param) ? "_keys" : "_embeddings"); });

TEST(SavedAdapter, OfDoraIsNoGgufFile) {
  TestModel m("llama_mha");
  Network network(m.model, m.compute);
  network.add_low_rank({LowRankKind::kDora, 3, 5}, kAllRoles, 1);
  TempDir dir("adapter");
  EXPECT_THROW(write_gguf_adapter(dir.path / "tone.gguf", network, "tone"), Error);
  EXPECT_FALSE(fs::exists(dir.path / "tone.gguf"));
}

class SavedModel : public ::testing::TestWithParam<const char*> {};

TEST_P(SavedModel, ComputesWhatWasTrained) {
  TestModel m(GetParam());
  Network network(m.model, m.compute);
  const TokenBatch batch = random_batch(m.model, kShape);
  const std::vector<float> before = logits_of(network, batch);
  network.train_all();
  move_values(network);
  const std::vector<float> want = logits_of(network, batch);
  TempDir dir("model");
  write_trained_model(dir.path / "trained.gguf", network);
  TestModel again(dir.path / "trained.gguf");
  EXPECT_LE(worst_difference(inferred_logits(again.model, again.compute, batch), want), 1e-4f);
  EXPECT_GT(worst_difference(before, want), 1e-2f);
  for (const Tensor& t : m.model.file().tensors) EXPECT_EQ(again.model.file().get(t.name).dtype, t.dtype) << t.name;
}

INSTANTIATE_TEST_SUITE_P(Models, SavedModel,
                         ::testing::Values("llama_mha", "opt_sparse", "tiny_qwen2", "tiny_gemma", "tiny_starcoder2"),
                         [](const auto& i) { return i.param; });

// The weights that products used in training are those of the file.
TEST(SavedModel, RoundsAsTheProductsDidInTraining) {
  for (const char* fixture : {"llama_mha", "opt_sparse"}) {
    TestModel m(fixture);
    Network network(m.model, m.compute);
    network.train_all();
    network.round_weights(DType::kQ4_0);
    move_values(network);
    TempDir dir("model");
    write_trained_model(dir.path / "trained.gguf", network);
    TestModel again(dir.path / "trained.gguf");
    Network read(again.model, again.compute);
    for (size_t l = 0; l < network.blocks().size(); ++l) {
      std::vector<const Linear*> written;
      read.blocks()[l]->for_each_projection([&](Projection& p) { written.push_back(&p.base()); });
      size_t i = 0;
      network.blocks()[l]->for_each_projection([&](Projection& p) {
        const Linear& w = *written[i++];
        EXPECT_EQ(w.rows().dtype, DType::kQ4_0);
        std::vector<float> unit(w.n_in * w.n_in, 0.0f), product(w.n_in * w.n_out), want(w.n_out * w.n_in);
        for (size_t k = 0; k < w.n_in; ++k) unit[k * w.n_in + k] = 1;
        p.forward(m.compute, {unit.data(), w.n_in, w.n_in}, {product.data(), w.n_in, w.n_out});
        w.decode(m.compute, {want.data(), w.n_out, w.n_in});
        float worst = 0;
        for (size_t r = 0; r < w.n_out; ++r)
          for (size_t k = 0; k < w.n_in; ++k)
            worst = std::max(worst, std::abs(product[k * w.n_out + r] - want[r * w.n_in + k] -
                                             (w.bias().empty() ? 0.0f : w.bias()[r])));
        EXPECT_LE(worst, 1e-6f) << fixture << " " << l << " " << name_of(w.id.role);
      });
    }
  }
}

TEST(SavedModel, RemembersTheActivationThatItGotUsedTo) {
  TestModel m("llama_mha");
  Network network(m.model, m.compute);
  const TokenBatch batch = random_batch(m.model, kShape);
  network.train_all();
  const std::vector<float> before = logits_of(network, batch);
  network.become_relu();
  network.set_threshold(0.01f);
  const std::vector<float> want = logits_of(network, batch);
  EXPECT_GT(worst_difference(before, want), 1e-2f);
  TempDir dir("model");
  write_trained_model(dir.path / "relu.gguf", network);
  TestModel again(dir.path / "relu.gguf");
  EXPECT_EQ(again.model.config().layers[0].activation, Activation::kRelu);
  EXPECT_LE(worst_difference(inferred_logits(again.model, again.compute, batch), want), 1e-4f);
}

}  // namespace
}  // namespace hunch
