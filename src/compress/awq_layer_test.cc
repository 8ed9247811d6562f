// AWQ's scales and clips of a block against the reference codes, and scales that leave a model's function alone.
#include "compress/awq_layer.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <fstream>

#include "compress/matrix/golden_matrices.h"
#include "linear/values.h"
#include "model/test_steps.h"

namespace hunch {
namespace {

double relative_difference(const std::vector<float>& got, const std::vector<float>& want) {
  double most = got.size() == want.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(got.size(), want.size()); ++i)
    most = std::max(most, std::abs(double(got[i]) / want[i] - 1));
  return most;
}

Matrix values_of(const Engine& engine, const Linear& linear) {
  Matrix W(linear.n_out, linear.n_in);
  decode_rows(*engine.compute, Values(*engine.compute, linear).rows(), W.view());
  return W;
}

// The second moment of every second token, as the reference's clips are tried on 512 of 1024.
class EverySecond : public InputMoments {
 public:
  using InputMoments::InputMoments;
  void on_attention_input(size_t l, MatView<const float> x) override { InputMoments::on_attention_input(l, half(x)); }
  void on_heads(size_t l, MatView<const float> x) override { InputMoments::on_heads(l, half(x)); }
  void on_mlp(const MlpPlace& p, MatView<const float> x, MatView<const float> act) override {
    InputMoments::on_mlp(p, half(x), half(act));
  }

 private:
  static MatView<const float> half(MatView<const float> x) { return {x.data, x.rows / 2, x.cols, 2 * x.row_stride}; }
};

void expect_reference(const GoldenMatrices& golden, const char* config, size_t group, bool duo,
                      const std::filesystem::path& model) {
  SCOPED_TRACE(config);
  const Engine engine = load_engine(model, {.n_threads = 2});
  const std::vector<int32_t> ids = golden.values<int32_t>("ids");
  BlockWalk walk(engine, ids, {1024, 64});
  walk.next();
  InputMoments moments(*engine.compute);
  walk.compute(&moments);
  EverySecond sampled(*engine.compute);
  walk.compute(&sampled);
  std::vector<size_t> windows(walk.n_windows());
  for (size_t w = 0; w < windows.size(); ++w) windows[w] = w;
  const RoundWeights round = [&](std::span<float> w) { round_min_max(w, 4, std::min(group, w.size())); };
  const LayerScaling got = search_layer_scaling(engine, walk, windows, moments, {round, duo, group});
  const std::string prefix = std::string(config) + ".";
  EXPECT_LE(relative_difference(got.attn_norm, golden.values(prefix + "scale.input_layernorm")), 1e-5);
  EXPECT_LE(relative_difference(got.ffn_norm, golden.values(prefix + "scale.post_attention_layernorm")), 1e-5);
  EXPECT_LE(relative_difference(got.by_input.at(Role::kDown), golden.values(prefix + "scale.mlp.up_proj")), 1e-5);
  const std::string o_scale = prefix + "scale.self_attn.v_proj";
  EXPECT_EQ(got.by_input.contains(Role::kHeads), golden.has(o_scale));
  if (golden.has(o_scale)) {
    EXPECT_LE(relative_difference(got.by_input.at(Role::kHeads), golden.values(o_scale)), 1e-5);
  }

  const Layer& layer = std::as_const(*engine.model).weights().layers[0];
  const std::pair<const char*, const Linear*> matrices[] = {{"self_attn.v_proj", layer.attention.v.get()},
                                                            {"self_attn.o_proj", layer.attention.o.get()},
                                                            {"mlp.gate_proj", layer.mlp.gate.get()},
                                                            {"mlp.up_proj", layer.mlp.up.get()},
                                                            {"mlp.down_proj", layer.mlp.down.get()}};
  for (const auto& [matrix, linear] : matrices) {
    // With the reference's own scales: codes of clipped groups are ties, which any other rounding decides otherwise.
    LayerScaling scaling;
    const auto scales = [&](const char* where) { return golden.values(prefix + "scale." + where); };
    for (const Role role : {Role::kQuery, Role::kKey, Role::kValue}) scaling.by_input[role] = scales("input_layernorm");
    for (const Role role : {Role::kGate, Role::kUp}) scaling.by_input[role] = scales("post_attention_layernorm");
    scaling.by_input[Role::kDown] = scaling.by_output[Role::kUp] = scales("mlp.up_proj");
    if (golden.has(o_scale)) scaling.by_input[Role::kHeads] = scaling.by_output[Role::kValue] = golden.values(o_scale);
    Matrix W = values_of(engine, *linear);
    scale_matrix(scaling, linear->id.role, W);
    const Matrix M = scaled_moment(scaling, linear->id.role, sampled.of(linear->id).sum);
    const Matrix clips = search_clips(*engine.compute, W, M, group, round);
    const std::vector<float> want = golden.values(prefix + "clip." + matrix);
    size_t n_other = 0;
    for (size_t i = 0; i < want.size(); ++i) n_other += std::abs(clips.values[i] / want[i] - 1) > 1e-5f;
    EXPECT_EQ(n_other, 0u) << matrix << ", of " << want.size();
  }
}

// Groups of keys and values: W_o's inputs cannot be scaled.
TEST(AwqLayer, ScalesAndClipsAreTheReferences) {
  HUNCH_GOLDEN_MATRICES(golden, "algos2/awq_block_gqa");
  const auto base = shared_path("golden/quantised/base");
  if (!base) GTEST_SKIP() << "needs golden/quantised of the shared data";
  for (const auto& [config, group, duo] : {std::tuple{"llmawq.g32", size_t{32}, false},
                                           {"llmawq.g128", 128, false},
                                           {"autoawq.g32", 32, true},
                                           {"autoawq.g128", 128, true}})
    expect_reference(golden, config, group, duo, *base);
}

// A Hugging Face folder of one layer that goes away with the test.
struct BlockFolder {
  BlockFolder(const GoldenMatrices& golden, const std::filesystem::path& base) {
    auto config = nlohmann::json::parse(read_file(base / "config.json"));
    config["num_hidden_layers"] = 1;
    config["num_key_value_heads"] = config["num_attention_heads"];
    config["intermediate_size"] = golden.shape("W.mlp.up_proj.weight")[0];
    nlohmann::ordered_json header;
    std::string data;
    const auto add = [&](const std::string& name, const std::vector<size_t>& shape, const std::vector<float>& values) {
      const size_t begin = data.size();
      data.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
      header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, data.size()}}};
    };
    const size_t n_embd = golden.shape("E")[1];
    add("model.embed_tokens.weight", golden.shape("E"), golden.values("E"));
    add("lm_head.weight", golden.shape("E"), golden.values("E"));
    add("model.norm.weight", {n_embd}, std::vector<float>(n_embd, 1));
    for (const auto& [name, entry] : golden.arrays().items())
      if (name.starts_with("W.")) add("model.layers.0." + name.substr(2), golden.shape(name), golden.values(name));
    const std::string json = header.dump();
    const uint64_t n = json.size();
    std::filesystem::create_directories(path);
    write("config.json", config.dump());
    write("model.safetensors", std::string(reinterpret_cast<const char*>(&n), sizeof n) + json + data);
  }
  ~BlockFolder() { std::filesystem::remove_all(path); }
  void write(const char* name, const std::string& bytes) { std::ofstream(path / name, std::ios::binary) << bytes; }
  std::filesystem::path path = std::filesystem::temp_directory_path() / fmt::format("hunch-awq-block-{}", ::getpid());
};

TEST(AwqLayer, ScalesOfValuesAreTheReferences) {
  HUNCH_GOLDEN_MATRICES(golden, "algos2/awq_block_mha");
  const auto base = shared_path("golden/quantised/base");
  if (!base) GTEST_SKIP() << "needs golden/quantised of the shared data";
  const BlockFolder folder(golden, *base);
  expect_reference(golden, "llmawq.g32", 32, false, folder.path);
  expect_reference(golden, "llmawq.g128", 128, false, folder.path);
}

// With nothing rounded, every loss is nothing but rounding of floats, and the model is the same afterwards.
TEST(AwqLayer, TheSearchLeavesTheModelAlone) {
  const Engine engine = load_engine(golden_fixture("tiny_llama"), {.n_threads = 2});
  std::vector<int32_t> ids(256);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = int32_t((i * 37 + i / 7) % engine.config().n_vocab);
  BlockWalk walk(engine, ids, {256, 64});
  walk.next();
  InputMoments moments(*engine.compute);
  walk.compute(&moments);
  const std::vector<float> before(walk.leaving(1).data,
                                  walk.leaving(1).data + walk.leaving(1).rows * walk.leaving(1).cols);
  const size_t windows[] = {0, 1};
  const LayerScaling got = search_layer_scaling(engine, walk, windows, moments, {[](std::span<float>) {}, false, 0});
  EXPECT_FALSE(got.attn_norm.empty());
  EXPECT_FALSE(got.ffn_norm.empty());
  EXPECT_TRUE(got.by_output.contains(Role::kUp));
  walk.compute();
  const MatView<float> after = walk.leaving(1);
  for (size_t i = 0; i < before.size(); ++i) ASSERT_EQ(before[i], after.data[i]);
}

// Values that are normalised before they are added up forget the scales of W_v.
TEST(AwqLayer, NothingIsFoldedIntoValuesThatAreNormalised) {
  const Engine engine = load_engine(golden_fixture("llama_mha"), {.n_threads = 2});
  std::vector<int32_t> ids(300);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = int32_t(4 + i * 7 % 50);
  Layer& layer = engine.model->weights().layers[0];
  const auto folds = [&] {
    BlockWalk walk(engine, ids, {256, 64});
    walk.next();
    InputMoments moments(*engine.compute);
    walk.compute(&moments);
    const size_t window[] = {0};
    const RoundWeights round = [](std::span<float> w) { round_min_max(w, 4, w.size()); };
    return search_layer_scaling(engine, walk, window, moments, {round}).by_output.contains(Role::kValue);
  };
  EXPECT_TRUE(folds());
  layer.config.value_norm = true;
  EXPECT_FALSE(folds());
}

}  // namespace
}  // namespace hunch
