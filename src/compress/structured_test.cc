#include "compress/structured.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "compress/channel_stats.h"
#include "compress/convert.h"
#include "compress/linear_algebra.h"
#include "compress/test_models.h"
#include "io/gguf.h"
#include "linear/stored.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

// The dense model with the columns of units that went at zero, and the biases that were written: what the pruned one
// must compute. The matrices live in `masks`.
void mask(Engine& engine, const StructuredReport& report, std::vector<std::unique_ptr<Matrix>>& masks) {
  for (Layer& layer : engine.model->weights().layers) {
    const KeptUnits& kept = report.layers[layer.config.index];
    const auto put = [&](std::unique_ptr<Linear>& slot, const std::vector<uint32_t>& units, size_t unit,
                         const std::vector<float>& bias) {
      auto W = std::make_unique<Matrix>(slot->n_out, slot->n_in);
      const std::vector<float> values = floats_of(*engine.compute, *slot);
      for (size_t r = 0; r < W->rows; ++r)
        for (const uint32_t u : units)
          for (size_t c = u * unit; c < (u + 1) * unit; ++c) W->row(r)[c] = values[r * W->cols + c];
      std::vector<float> own(slot->bias().begin(), slot->bias().end());
      slot = std::make_unique<Stored>(slot->id, W->weights(), WeightView(), bias.empty() ? own : bias,
                                      engine.model->layouts());
      masks.push_back(std::move(W));
    };
    if (kept.cuts_groups()) put(layer.attention.o, kept.groups, layer.config.group_width(), kept.heads_bias);
    if (kept.cuts_neurons()) put(layer.mlp.down, kept.neurons, 1, kept.down_bias);
  }
}

StructuredOptions cutting(double sparsity) {
  StructuredOptions options;
  options.sparsity = sparsity;
  options.multiple = 1;
  options.n_tokens = 256;
  return options;
}

// Whatever names, fused matrices, norms of heads and windows an architecture has; widths that no block divides.
TEST(Structured, ComputesWhatTheMaskedDenseModelDoes) {
  size_t n_cut = 0, n_heads_alone = 0;
  std::set<std::string> refused;
  for (const auto& entry : fs::directory_iterator(golden_fixture(""))) {
    if (!entry.is_directory()) continue;
    SCOPED_TRACE(entry.path().filename().string());
    const TempFile out;
    Engine engine = engine_of(entry.path());
    const std::vector<int32_t> ids = random_ids(engine, 300), some(ids.begin(), ids.begin() + 20);
    const std::vector<float> before = logits_of(engine, some);
    StructuredReport report;
    StructuredOptions options = cutting(0.3);
    if (engine.config().moe.n_expert > 0) options.neurons = false, options.sparsity = 0.1;
    try {
      report = prune_structured(engine, ids, options, out.path);
    } catch (const Error& e) {
      EXPECT_TRUE(e.kind() == ErrorKind::kUnsupported || e.kind() == ErrorKind::kUsage) << e.what();
      refused.insert(entry.path().filename().string());
      EXPECT_EQ(worst_difference(logits_of(engine, some), before), 0.0f);
      continue;
    }
    EXPECT_EQ(worst_difference(logits_of(engine, some), before), 0.0f) << "the model has changed";
    const Engine pruned = engine_of(out.path);
    EXPECT_EQ(report.bytes, pruned.model->weights().bytes);
    uint64_t n_weights = 0;
    for (const Linear* w : matrices(pruned)) n_weights += uint64_t{w->n_out} * w->n_in;
    EXPECT_EQ(n_weights, report.n_weights);
    std::vector<std::unique_ptr<Matrix>> masks;
    mask(engine, report, masks);
    const std::vector<float> want = logits_of(engine, some);
    EXPECT_LT(distance(want, logits_of(pruned, some)), 1e-4);
    EXPECT_GT(distance(want, before), 1e-4) << "nothing went";
    ++(options.neurons ? n_cut : n_heads_alone);
  }
  EXPECT_GE(n_cut, 25u);
  EXPECT_GE(n_heads_alone, 3u);
  for (const char* name : {"opt_sparse", "llama_mha", "tiny_llama", "tiny_qwen3", "tiny_phi3", "tiny_gemma2"})
    EXPECT_FALSE(refused.contains(name)) << name;
}

TEST(Structured, GroupsOfHeadsGoWithTheirKeys) {
  const TempFile out;
  const Engine engine = engine_of(golden_fixture("tiny_llama"));
  const ModelConfig& c = engine.config();
  ASSERT_LT(c.n_kv_head, c.n_head);
  StructuredOptions options = cutting(0.25);
  options.neurons = false;
  options.uniform = true;
  options.sparsity = 0.5;
  prune_structured(engine, random_ids(engine, 300), options, out.path);
  const Engine pruned = engine_of(out.path);
  EXPECT_EQ(pruned.config().n_kv_head, c.n_kv_head / 2);
  EXPECT_EQ(pruned.config().n_head, c.n_head / 2);
  EXPECT_EQ(pruned.config().d_head, c.d_head);
  EXPECT_EQ(pruned.config().n_ff, c.n_ff);
  const Metadata& meta = pruned.model->file().meta;
  EXPECT_EQ(meta.get_uint("llama.attention.head_count"), c.n_head / 2) << "one number where layers are equal";
  EXPECT_EQ(meta.get_uint("llama.attention.key_length"), c.d_head);
}

TEST(Structured, QuantisedMatricesLoseRowsAsTheyAre) {
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kF16}) {
    SCOPED_TRACE(name_of(dtype));
    const TempFile quantised, out;
    {
      const Engine whole = engine_of(golden_fixture("llama_mha"));
      ConvertOptions convert;
      convert.dtype = dtype;
      convert_model(whole.model->file(), quantised.path, convert, *whole.compute);
    }
    Engine engine = engine_of(quantised.path);
    const std::vector<int32_t> ids = random_ids(engine, 300), some(ids.begin(), ids.begin() + 20);
    StructuredOptions options = cutting(0.3);
    const StructuredReport report = prune_structured(engine, ids, options, out.path);
    const Engine pruned = engine_of(out.path);
    size_t n_odd = 0;
    for (size_t l = 0; l < report.layers.size(); ++l) {
      const KeptUnits& kept = report.layers[l];
      if (!kept.cuts_neurons()) continue;
      const Layer& was = std::as_const(*engine.model).weights().layers[l];
      const Layer& is = std::as_const(*pruned.model).weights().layers[l];
      ASSERT_EQ(is.mlp.up->rows().dtype, was.mlp.up->rows().dtype);
      for (size_t i = 0; i < kept.neurons.size(); ++i)
        ASSERT_EQ(std::memcmp(is.mlp.up->rows().row(i), was.mlp.up->rows().row(kept.neurons[i]),
                              was.mlp.up->rows().row_stride_bytes),
                  0);
      n_odd += kept.neurons.size() % 32 != 0;
    }
    EXPECT_GT(n_odd, 0u);
    if (dtype != DType::kF16) {
      EXPECT_FALSE(report.notes.empty()) << "no blocks for such rows";
    }
    std::vector<std::unique_ptr<Matrix>> masks;
    mask(engine, report, masks);
    EXPECT_LT(distance(logits_of(engine, some), logits_of(pruned, some)), dtype == DType::kF16    ? 1e-3
                                                                          : dtype == DType::kQ8_0 ? 0.02
                                                                                                  : 0.2);
  }
}

// Neurons that say the same of every token are what biases stand in for: the function stays.
TEST(Structured, WhatIsConstantGoesFirstAndItsBiasMakesUpForIt) {
  const TempFile planted, out, bare;
  const std::vector<uint32_t> constant = {3, 17, 64, 101, 200};
  {
    const Engine engine = engine_of(golden_fixture("opt_sparse"));
    const ModelFile& file = engine.model->file();
    std::vector<TensorToWrite> tensors;
    std::map<std::string, std::vector<float>> changed;
    for (const Tensor& t : file.tensors) {
      tensors.push_back({t.name, t.dtype, t.shape, [&t] { return t.data; }});
      if (t.name != "blk.0.ffn_up.weight" && t.name != "blk.0.ffn_up.bias") continue;
      std::vector<float>& values = changed[t.name];
      values.resize(t.n_elems());
      codec(t.dtype).decode(t.data.data(), values.data(), values.size());
      for (const uint32_t n : constant)
        if (t.shape.size() == 2)
          std::fill_n(values.begin() + ptrdiff_t(n * t.cols()), t.cols(), 0.0f);
        else
          values[n] = 3;
      tensors.back() = {t.name, DType::kF32, t.shape, [&values] { return std::as_bytes(std::span(values)); }};
    }
    write_gguf(planted.path, file.meta, tensors);
  }
  const Engine engine = engine_of(planted.path);
  const std::vector<int32_t> ids = random_ids(engine, 256), some(ids.begin(), ids.begin() + 128);
  StructuredOptions options = cutting(0.02);
  options.heads = false;
  const StructuredReport report = prune_structured(engine, ids, options, out.path);
  for (const uint32_t n : constant) EXPECT_FALSE(std::ranges::binary_search(report.layers[0].neurons, n)) << n;
  const std::vector<float> want = logits_of(engine, some);
  EXPECT_LT(distance(want, logits_of(engine_of(out.path), some)), 0.02);
  options.compensate = false;
  prune_structured(engine, ids, options, bare.path);
  EXPECT_GT(distance(want, logits_of(engine_of(bare.path), some)), 0.1);
}

TEST(Structured, LayersThatChangeTheStreamLeastGoWhole) {
  const TempFile out;
  const Engine engine = engine_of(golden_fixture("tiny_opt"));
  const std::vector<int32_t> ids = random_ids(engine, 300);
  StructuredOptions options = cutting(0);
  options.n_dropped = 1;
  const StructuredReport report = prune_structured(engine, ids, options, out.path);
  ASSERT_GE(report.layers.size(), 2u);
  const size_t gone = size_t(std::ranges::min_element(report.influence) - report.influence.begin());
  for (size_t l = 0; l < report.layers.size(); ++l) EXPECT_EQ(report.layers[l].dropped, l == gone);
  const Engine pruned = engine_of(out.path);
  ASSERT_EQ(pruned.config().n_layer, engine.config().n_layer - 1);
  for (size_t l = 0; l < pruned.config().n_layer; ++l) {
    const Layer& is = std::as_const(*pruned.model).weights().layers[l];
    const Layer& was = std::as_const(*engine.model).weights().layers[l + (l >= gone)];
    EXPECT_EQ(floats_of(*engine.compute, *is.mlp.up), floats_of(*engine.compute, *was.mlp.up));
  }
  options.sparsity = 0.2;
  prune_structured(engine, ids, options, out.path);
  EXPECT_TRUE(std::isfinite(logits_of(engine_of(out.path), std::span(ids).first(8))[0]));
}

TEST(Structured, RefusesWhatCannotBe) {
  const TempFile out;
  const auto refusal = [&](const char* model, const StructuredOptions& options, size_t n_ids = 300) -> std::string {
    const Engine engine = engine_of(golden_fixture(model));
    try {
      prune_structured(engine, random_ids(engine, n_ids), options, out.path);
    } catch (const Error& e) {
      EXPECT_FALSE(fs::exists(out.path));
      return e.what();
    }
    return "nothing";
  };
  EXPECT_NE(refusal("tiny_opt", cutting(0)).find("how much"), std::string::npos);
  EXPECT_NE(refusal("tiny_opt", cutting(1)).find("less than 1"), std::string::npos);
  EXPECT_NE(refusal("tiny_opt", cutting(0.99)).find("at most"), std::string::npos);
  EXPECT_NE(refusal("tiny_opt", cutting(0.2), 100).find("at least 256"), std::string::npos);
  EXPECT_NE(refusal("tiny_mixtral", cutting(0.2)).find("only q,k,v,o"), std::string::npos);
  StructuredOptions layers = cutting(0);
  layers.n_dropped = 1;
  EXPECT_NE(refusal("tiny_gemma2", layers).find("another kind"), std::string::npos);
  layers.n_dropped = 99;
  EXPECT_NE(refusal("tiny_opt", layers).find("at least one stays"), std::string::npos);
}

TEST(ChannelStats, AreThoseOfTwoPasses) {
  std::mt19937 rng(3);
  std::normal_distribution<float> normal(5, 2);
  Matrix X(37, 3);
  for (float& v : X.values) v = normal(rng);
  ChannelStats stats;
  stats.add(MatView<const float>(X.values.data(), 20, 3));
  stats.add(MatView<const float>(X.row(20).data(), 17, 3));
  for (size_t c = 0; c < 3; ++c) {
    double mean = 0, squares = 0;
    for (size_t t = 0; t < 37; ++t) mean += double(X.row(t)[c]) / 37;
    for (size_t t = 0; t < 37; ++t) squares += std::pow(X.row(t)[c] - mean, 2);
    EXPECT_NEAR(stats.mean(c), mean, 1e-9);
    EXPECT_NEAR(stats.variance(c), squares / 36, 1e-9);
  }
}

}  // namespace
}  // namespace hunch
