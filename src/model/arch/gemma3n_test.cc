// Gates that are cut off are exact zeros, streams go in and out of blocks, and what of Gemma 3n's configs is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/hf_folder.h"
#include "kernels/each_target.h"
#include "model/architecture.h"
#include "model/open_model.h"
#include "model/test_steps.h"

namespace hunch {
namespace {

using Json = nlohmann::json;

ModelFile imported(const std::function<void(Json&)>& change) {
  HfFolder folder = open_hf_folder(golden_fixture("tiny_gemma3n"));
  Json json = Json::parse(folder.config_json);
  change(json);
  folder.config_json = json.dump();
  HfImport hf(folder, "gemma3n");
  architecture_by_hf_type("gemma3n").import_hf(hf);
  return hf.finish();
}

std::vector<int32_t> some_ids(size_t n) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(int32_t((i * 37 + 11) % 61));
  return ids;
}

struct Passed {
  std::vector<float> logits;
  std::vector<uint64_t> active, all;
};
// A text one by one; `blocks`: its first so many tokens through run_blocks() in pieces.
Passed pass(const Model& model, Compute& compute, std::span<const int32_t> ids, const Plan* plan) {
  KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 4), 64);
  Transformer transformer(model, cache, compute);
  const auto sequence = cache.create();
  Passed out;
  for (const int32_t& id : ids) {
    const hunch::Run run{sequence, 1, Phase::kDecode, plan};
    const uint32_t row = 0;
    append_rows(transformer.run({{&id, 1}, {&run, 1}, {&row, 1}}), out.logits);
  }
  out.active = transformer.stats.active_neurons;
  out.all = transformer.stats.all_neurons;
  return out;
}

TEST(Gemma3n, GatesThatAreCutOffAreSkippedExactly) {
  Compute compute(1);
  const Model model(open_model(golden_fixture("tiny_gemma3n")).file, {}, compute);
  const ModelConfig& c = model.config();
  const Plan exact = Plan::exact(c);
  const std::vector<int32_t> ids = some_ids(20);
  for_each_target([&] {
    const Passed sparse = pass(model, compute, ids, &exact), dense = pass(model, compute, ids, nullptr);
    EXPECT_LE(worst_difference(sparse.logits, dense.logits), 1e-4f);
    EXPECT_EQ(sparse.active, dense.active);
    for (size_t l = 0; l < c.n_layer; ++l) {
      const bool cut = l < 2 || l == 3;  // at 0.9, 0.8 and 0.95
      EXPECT_EQ(bool(exact.at(l, Point::kLive).selector), cut);
      EXPECT_EQ(c.layers[l].makes_zeros(), cut);
      EXPECT_EQ(model.weights().layers[l].mlp.down->reads_less_by_input(1), cut);
      if (cut) {
        EXPECT_LT(sparse.active[l], sparse.all[l] * 2 / 5) << l;
      } else {
        EXPECT_EQ(sparse.active[l], sparse.all[l]) << l;
      }
    }
  });
  EXPECT_NEAR(c.layers[1].gate_cutoff, 0.8416212, 1e-5);
  EXPECT_NEAR(c.layers[3].gate_cutoff, 1.6448534, 1e-5);
}

TEST(Gemma3n, BlocksTakeAllStreams) {
  // All layers have keys of their own here, so that each can be computed by itself.
  Compute compute(1);
  ModelFile file = open_model(golden_fixture("tiny_gemma3n")).file;
  file.meta.set("gemma3n.attention.shared_kv_layers", uint32_t{0});
  file.meta.set("gemma3n.block_count", uint32_t{3});
  file.meta.set("gemma3n.feed_forward_length", uint32_t{40});
  file.meta.set("gemma3n.attention.sliding_window_pattern", MetaArray(std::vector<bool>{true, true, false}));
  file.meta.set("gemma3n.activation_sparsity_scale", MetaArray(std::vector<float>(3, 0.5f)));
  for (Tensor& t : file.tensors) {  // the first three layers' part of each
    if (t.name == "per_layer_model_proj.weight") {
      t.data = t.data.first(t.data.size() / 5 * 3);
      t.shape[0] = 18;
    }
    if (t.name == "per_layer_token_embd.weight") {
      t.shape = {t.shape[0] * 5 / 3, 18};  // other numbers, as good as any
      t.data = t.data.first(t.shape[0] * 18 * 2);
    }
  }
  file.index();
  const Model model(std::move(file), {}, compute);
  const ModelConfig& c = model.config();
  EXPECT_EQ(c.stream_width(), 4 * c.n_embd);
  KvCache cache(Transformer::kv_shape(c), 64);
  Transformer transformer(model, cache, compute);
  const auto sequence = cache.create();
  const std::vector<int32_t> ids = some_ids(12);
  const hunch::Run run{sequence, ids.size()};
  const StepInput input{ids, {&run, 1}, {}};
  std::vector<float> whole, stream;
  append_rows(transformer.run_blocks(input, 0, c.n_layer, {}), whole);
  cache.truncate(sequence, 0);
  append_rows(transformer.run_blocks(input, 0, 0, {}), stream);
  for (size_t l = 0; l < c.n_layer; ++l) {
    cache.truncate(sequence, 0);
    std::vector<float> next;
    append_rows(transformer.run_blocks(input, l, l + 1, {stream.data(), ids.size(), c.stream_width()}), next);
    stream = std::move(next);
  }
  EXPECT_EQ(stream, whole);
}

TEST(Gemma3n, CoefficientsOfCorrectionsAreKeptWithinTheConfigsLimit) {
  const auto largest = [](double limit) {
    const ModelFile file = imported([&](Json& j) { j["altup_coef_clip"] = limit; });
    const Tensor& t = file.get("blk.1.altup_correct_coef.weight");
    float most = 0;
    for (size_t i = 0; i < t.n_elems(); ++i) {
      float v;
      std::memcpy(&v, t.data.data() + 4 * i, 4);
      most = std::max(most, std::abs(v));
    }
    return most;
  };
  EXPECT_GT(largest(120), 0.01f);
  EXPECT_EQ(largest(0.01), 0.01f);
}

TEST(Gemma3n, RefusesWhatItCannotCompute) {
  const auto refused = [](const std::function<void(Json&)>& change) {
    try {
      config_from_gguf(imported(change));
    } catch (const Error&) {
      return true;
    }
    return false;
  };
  EXPECT_FALSE(refused([](Json&) {}));
  EXPECT_TRUE(refused([](Json& j) { j["activation_sparsity_pattern"] = {0.5, 0.5}; }));
  EXPECT_TRUE(refused([](Json& j) { j["activation_sparsity_pattern"][1] = 1.0; }));
  EXPECT_TRUE(refused([](Json& j) { j["altup_num_inputs"] = 1; }));
  EXPECT_TRUE(refused([](Json& j) { j["altup_active_idx"] = 4; }));
  EXPECT_TRUE(refused([](Json& j) { j["intermediate_size"] = {48, 48}; }));
  EXPECT_TRUE(refused([](Json& j) { j["hidden_size_per_layer_input"] = 0; }));
  EXPECT_TRUE(refused([](Json& j) { j["rope_scaling"] = {{"rope_type", "unheard-of"}}; }));
}

}  // namespace
}  // namespace hunch
