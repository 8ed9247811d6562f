// Mixes by name: which matrices get more bits, as files of llama.cpp of these names have it.
#include "compress/quant_mix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/file.h"
#include "compress/convert.h"
#include "compress/importance.h"
#include "io/gguf.h"
#include "measure/perplexity.h"
#include "model/open_model.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

MixModel model_of(
    size_t n_layer, size_t n_head, size_t n_kv_head, size_t n_expert, bool has_output,
    const std::function<std::string(size_t layer)>& values = [](size_t) { return "attn_v"; }) {
  ModelFile file;
  file.meta.set("general.architecture", std::string("llama"));
  file.meta.set("llama.block_count", uint32_t(n_layer));
  file.meta.set("llama.attention.head_count", uint32_t(n_head));
  file.meta.set("llama.attention.head_count_kv", uint32_t(n_kv_head));
  if (n_expert) file.meta.set("llama.expert_count", uint32_t(n_expert));
  file.tensors.push_back({"token_embd.weight", DType::kF16, {8, 8}, {}});
  if (has_output) file.tensors.push_back({"output.weight", DType::kF16, {8, 8}, {}});
  for (size_t l = 0; l < n_layer; ++l)
    file.tensors.push_back({"blk." + std::to_string(l) + "." + values(l) + ".weight", DType::kF16, {8, 8}, {}});
  return MixModel(file);
}

// The type of a matrix in each layer, as digits: "64446..." is q6_k, q4_k, ...
std::string by_layer(const char* mix, const MixModel& model, const char* matrix) {
  std::string out;
  for (size_t l = 0; l < model.n_layer; ++l) {
    const std::string name =
        hunch::name_of(mixed_type(*find_mix(mix), model, "blk." + std::to_string(l) + "." + matrix));
    out += name[1];
  }
  return out;
}

TEST(QuantMix, Q4KM) {
  // TinyLlama's shape: 22 layers, 32 heads, 4 of keys. llama-quantize gives 21 q6_k (with the head) and 135 q4_k.
  const MixModel model = model_of(22, 32, 4, 0, true);
  EXPECT_EQ(by_layer("q4_k_m", model, "attn_v.weight"), "6644644644644644644666");
  EXPECT_EQ(by_layer("q4_k_m", model, "ffn_down.weight"), "6644644644644644644666");
  EXPECT_EQ(by_layer("q4_k_m", model, "attn_output.weight"), std::string(22, '4'));
  EXPECT_EQ(mixed_type(*find_mix("q4_k_m"), model, "output.weight"), DType::kQ6_K);
  EXPECT_EQ(mixed_type(*find_mix("q4_k_m"), model, "token_embd.weight"), DType::kQ4_K);
  EXPECT_EQ(mixed_type(*find_mix("q4_k_m"), model_of(2, 4, 4, 0, false), "token_embd.weight"), DType::kQ6_K);
  EXPECT_EQ(by_layer("q4_k_m", model, "attn_k.weight"), std::string(22, '4'));
}

// Layers of delta nets have one matrix of queries, keys and values: it counts as one of values, and these are counted
// through all layers. What llama-quantize gives for 24 layers of which every fourth has attention.
TEST(QuantMix, MatricesWithValuesAmongOthers) {
  const MixModel model = model_of(24, 16, 2, 0, true, [](size_t l) { return l % 4 == 3 ? "attn_v" : "attn_qkv"; });
  EXPECT_EQ(by_layer("q4_k_m", model, "attn_qkv.weight"), "666446446446446446446666");
  EXPECT_EQ(by_layer("q4_k_m", model, "attn_v.weight"), "666446446446446446446666");
  EXPECT_EQ(by_layer("q3_k_m", model, "attn_qkv.weight"), "55" + std::string(22, '4'));
  EXPECT_EQ(by_layer("q4_k_s", model, "attn_qkv.weight"), "5555" + std::string(20, '4'));
  // Layers without any are not counted: of six layers the second is the first of two.
  const MixModel sparse = model_of(6, 16, 2, 0, true, [](size_t l) { return l % 4 == 1 ? "attn_qkv" : "none"; });
  EXPECT_EQ(mixed_type(*find_mix("q3_k_m"), sparse, "blk.5.attn_qkv.weight"), DType::kQ5_K);
}

TEST(QuantMix, SmallMatricesOfGemmas) {
  EXPECT_TRUE(stays_float("altup_proj.weight"));
  EXPECT_TRUE(stays_float("blk.0.laurel_l.weight"));
  EXPECT_TRUE(stays_float("per_layer_model_proj.weight"));
  EXPECT_FALSE(stays_float("blk.0.attn_v.weight"));
  const QuantMix& mix = *find_mix("q4_k_m");
  EXPECT_EQ(mixed_type(mix, model_of(2, 4, 4, 0, false), "per_layer_token_embd.weight"), DType::kQ6_K);
  EXPECT_EQ(mixed_type(mix, model_of(2, 4, 4, 0, true), "per_layer_token_embd.weight"), DType::kQ4_K);
}

TEST(QuantMix, Others) {
  const MixModel model = model_of(32, 32, 8, 0, true);
  EXPECT_EQ(by_layer("q4_k_s", model, "attn_v.weight"), "5555" + std::string(28, '4'));
  EXPECT_EQ(by_layer("q4_k_s", model, "ffn_down.weight"), "5555" + std::string(28, '4'));
  EXPECT_EQ(by_layer("q3_k_m", model, "attn_v.weight"), "55" + std::string(30, '4'));
  EXPECT_EQ(by_layer("q3_k_m", model, "ffn_down.weight"), "55" + std::string(30, '4'));
  EXPECT_EQ(by_layer("q3_k_l", model, "attn_output.weight"), std::string(32, '5'));
  EXPECT_EQ(by_layer("q3_k_s", model, "ffn_down.weight"), std::string(32, '3'));
  EXPECT_EQ(by_layer("q2_k", model, "attn_v.weight"), std::string(32, '4'));
  EXPECT_EQ(by_layer("q2_k", model_of(32, 32, 32, 0, true), "attn_v.weight"), std::string(32, '3'));
  EXPECT_EQ(by_layer("q5_k_s", model, "attn_v.weight"), std::string(32, '5'));
  EXPECT_EQ(mixed_type(*find_mix("iq4_xs"), model, "blk.0.ffn_down.weight"), DType::kQ5_K);
  EXPECT_EQ(mixed_type(*find_mix("iq4_xs"), model, "blk.9.ffn_down.weight"), DType::kIQ4_XS);
  MixModel weighed = model;
  weighed.has_importance = true;
  EXPECT_EQ(mixed_type(*find_mix("iq4_xs"), weighed, "blk.0.ffn_down.weight"), DType::kIQ4_XS);
  const MixModel experts = model_of(32, 32, 8, 8, true);
  EXPECT_EQ(by_layer("q4_k_m", experts, "attn_k.weight"), std::string(32, '8'));
  EXPECT_EQ(by_layer("q4_k_m", experts, "attn_output.weight"), std::string(32, '5'));
  EXPECT_EQ(mixed_type(*find_mix("mxfp4_moe"), experts, "blk.0.ffn_up_exps.weight"), DType::kMXFP4);
  EXPECT_EQ(mixed_type(*find_mix("mxfp4_moe"), experts, "blk.0.attn_q.weight"), DType::kQ8_0);
  EXPECT_EQ(find_mix("q4_k_xl"), nullptr);
}

// The demo's text in a file of this type, with and without an importance matrix of another text.
TEST(QuantMix, AnImportanceMatrixLowersThePerplexityOfTheDemo) {
  const fs::path demo = fs::path(HUNCH_SOURCE_DIR) / "models" / "demo";
  const fs::path path = fs::temp_directory_path() / fmt::format("hunch_mix_{}.gguf", getpid());
  const Engine engine = load_engine(demo / "hunch-demo.gguf", {.n_threads = 2});
  const std::vector<int32_t> book = engine.encode(read_file(demo / "book.txt"));
  const std::vector<int32_t> eval = engine.encode(read_file(demo / "eval.txt"));
  const ImportanceMatrix importance =
      measure_importance(engine, book, {.n_ctx = 128, .n_tokens = 8192, .text_name = "book.txt"});
  const auto perplexity_of = [&](DType dtype, const ImportanceMatrix* matrix) {
    ConvertOptions options{dtype, DownFile::kRows};
    options.importance = matrix;
    const ConvertReport report = convert_model(engine.model->file(), path, options, *engine.compute);
    if (matrix) EXPECT_EQ(report.n_unweighted, 1u) << "only the embedding is not read by a product";
    const Engine small = load_engine(path, {.n_threads = 2});
    const double out = perplexity(small, {}, eval, {.n_ctx = 128, .max_tokens = 6000}).perplexity;
    fs::remove(path);
    return out;
  };
  for (const DType dtype : {DType::kQ4_K, DType::kQ3_K}) {
    const double plain = perplexity_of(dtype, nullptr), weighed = perplexity_of(dtype, &importance);
    RecordProperty(name_of(dtype), fmt::format("{:.4f} {:.4f}", plain, weighed));
    EXPECT_LT(weighed, plain) << name_of(dtype);
    fmt::print("{}: perplexity {:.4f}, with an importance matrix {:.4f}\n", name_of(dtype), plain, weighed);
  }
}

}  // namespace
}  // namespace hunch
