// Layers that read the keys of others, and what of Gemma 4's configs is refused.
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/hf_folder.h"
#include "kernels/each_target.h"
#include "model/architecture.h"
#include "model/open_model.h"
#include "model/test_steps.h"
#include "select/key_policies.h"

namespace hunch {
namespace {

using Json = nlohmann::json;

ModelFile imported(const char* fixture, const std::function<void(Json&)>& change) {
  HfFolder folder = open_hf_folder(golden_fixture(fixture));
  Json json = Json::parse(folder.config_json);
  change(json);
  folder.config_json = json.dump();
  HfImport hf(folder, "gemma4");
  architecture_by_hf_type("gemma4").import_hf(hf);
  return hf.finish();
}

// "" where it is not refused.
std::string refusal(const char* fixture, const std::function<void(Json&)>& change) {
  try {
    config_from_gguf(imported(fixture, change));
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// Logits of a text: so many tokens together, then one by one.
std::vector<float> logits_of(const Model& model, Compute& compute, std::span<const int32_t> ids, size_t n_prompt,
                             const Plan* plan, Observer* observer = nullptr) {
  KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 4), 128);
  Transformer transformer(model, cache, compute);
  transformer.observer = observer;
  const auto sequence = cache.create();
  SelectorStates states;
  std::vector<float> out;
  for (size_t begin = 0; begin < ids.size();) {
    const size_t n = begin == 0 ? n_prompt : 1;
    Run run{sequence, n, begin == 0 ? Phase::kPrompt : Phase::kDecode, plan};
    run.states = &states;
    const std::vector<uint32_t> rows = rows_up_to(n);
    append_rows(transformer.run({ids.subspan(begin, n), {&run, 1}, rows}), out);
    begin += n;
  }
  return out;
}

class Gemma4 : public ::testing::Test {
 protected:
  Gemma4() {
    for (size_t i = 0; i < 30; ++i) ids.push_back(int32_t((i * 37 + 11) % 61));
  }
  Compute compute{1};
  Model model{open_model(golden_fixture("tiny_gemma4")).file, {}, compute};
  const ModelConfig& c = model.config();
  std::vector<int32_t> ids;
};

TEST_F(Gemma4, LastLayersReadTheKeysOfTheirKind) {
  const size_t from[] = {0, 1, 2, 1, 1, 2};  // layers 2 and 5 are full
  const KvShape shape = Transformer::kv_shape(c);
  for (size_t i = 0; i < c.n_layer; ++i) {
    EXPECT_EQ(c.layers[i].keys_from, from[i]);
    EXPECT_EQ(c.layers[i].lends_keys, i == 1 || i == 2);
    EXPECT_EQ(shape.layers[i].n_kv_head, i < 3 ? 2u : 0u);
    EXPECT_EQ(shape.layers[i].d_head, i == 2 ? 16u : i < 2 ? 8u : 0u);
    EXPECT_EQ(c.layers[i].d_head, i == 2 || i == 5 ? 16u : 8u);
    EXPECT_EQ(bool(model.weights().layers[i].attention.k), i < 3);
    EXPECT_EQ(c.layers[i].n_ff, i < 3 ? 24u : 48u);
  }
  EXPECT_FALSE(can_choose_heads(c));
  EXPECT_TRUE(can_choose_heads(c.layers[0]));
}

TEST_F(Gemma4, TokensOneByOneAreThePrompt) {
  const WithoutTiles exact;
  const std::vector<float> together = logits_of(model, compute, ids, ids.size(), nullptr);
  EXPECT_LE(worst_difference(logits_of(model, compute, ids, 1, nullptr), together), 1e-4f);
}

// What the lender drops, the borrowers no longer see: they read what there is.
TEST_F(Gemma4, KeysAreChosenWhereTheyLie) {
  const std::vector<float> all = logits_of(model, compute, ids, 10, nullptr);
  for (const char* policy : {"streaming:64", "h2o:64"}) {
    Plan plan = Plan::exact(c);
    plan.set_keys(c, key_policy_from(policy));
    EXPECT_FALSE(plan.at(5, Point::kKeys).selector);
    EXPECT_EQ(worst_difference(logits_of(model, compute, ids, 10, &plan), all), 0) << policy;
  }
  for (const char* policy : {"streaming:8", "h2o:8", "tova:8"}) {
    Plan plan = Plan::exact(c);
    plan.set_keys(c, key_policy_from(policy));
    const float worst = worst_difference(logits_of(model, compute, ids, 10, &plan), all);
    EXPECT_GT(worst, 0) << policy;
    EXPECT_LT(worst, INFINITY) << policy;
  }
}

TEST_F(Gemma4, ObserversSeeTheKeysThatAreRead) {
  struct Keys : Observer {
    std::vector<std::vector<float>> of_layer = std::vector<std::vector<float>>(6);
    void on_attention(size_t layer, MatView<const float>, MatView<const float> k, MatView<const float>) override {
      append_rows(k, of_layer[layer]);
    }
  } keys;
  logits_of(model, compute, ids, 20, nullptr, &keys);
  EXPECT_EQ(keys.of_layer[4], keys.of_layer[1]);
  EXPECT_EQ(keys.of_layer[5], keys.of_layer[2]);
  EXPECT_EQ(keys.of_layer[2].size(), ids.size() * 32);
}

TEST_F(Gemma4, BlocksThatReadOthersKeysAreNotComputedAlone) {
  KvCache cache(Transformer::kv_shape(c), 64);
  Transformer transformer(model, cache, compute);
  const hunch::Run run{cache.create(), 5};
  const StepInput input{std::span(ids).first(5), {&run, 1}, {}};
  EXPECT_NO_THROW(transformer.run_blocks(input, 0, c.n_layer, {}));
  const std::vector<float> stream(5 * c.n_embd, 0.1f);
  EXPECT_THROW(transformer.run_blocks(input, 3, 4, {stream.data(), 5, c.n_embd}), Error);
}

TEST(Gemma4Config, KeysAreValuesWhereThereAreNoOthers) {
  const ModelConfig c = config_from_gguf(open_model(golden_fixture("tiny_gemma4_moe")).file);
  for (const LayerConfig& l : c.layers) {
    const bool full = l.window == 0;
    EXPECT_EQ(l.keys_as_values, full);
    EXPECT_EQ(l.n_kv_head, full ? 1u : 2u);
    EXPECT_TRUE(l.moe.beside_mlp && l.n_ff == 28 && l.moe.n_ff == 10);
  }
  const auto without_values = [](ModelFile file) {
    std::erase_if(file.tensors, [](const Tensor& t) { return t.name == "blk.0.attn_k.weight"; });
    file.index();
    Compute compute(1);
    Model(std::move(file), {}, compute);
  };
  EXPECT_THROW(without_values(open_model(golden_fixture("tiny_gemma4")).file), Error);
}

TEST(Gemma4Config, RefusesWhatItCannotCompute) {
  const auto contains = [](const std::string& message, const char* part) {
    return message.find(part) != message.npos ? "" : message + " (no '" + part + "')";
  };
  EXPECT_EQ(refusal("tiny_gemma4", [](Json&) {}), "");
  EXPECT_EQ(
      contains(refusal("tiny_gemma4", [](Json& j) { j["use_bidirectional_attention"] = "all"; }), "bidirectional"), "");
  EXPECT_EQ(contains(refusal("tiny_gemma4", [](Json& j) { j["num_kv_shared_layers"] = 6; }), "fewer than 6"), "");
  EXPECT_EQ(contains(refusal("tiny_gemma4", [](Json& j) { j["num_kv_shared_layers"] = 4; }), "and there is none"), "");
  EXPECT_EQ(contains(refusal("tiny_gemma4", [](Json& j) { j["rope_scaling"]["rope_type"] = "yarn"; }), "proportional"),
            "");
  EXPECT_EQ(contains(refusal("tiny_gemma4", [](Json& j) { j.erase("layer_types"); }), "layer_types"), "");
}

}  // namespace
}  // namespace hunch
