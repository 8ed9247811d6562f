#include "compress/rotate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "compress/test_models.h"
#include "io/gguf.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

double kurtosis(const std::vector<float>& x) {
  double squares = 0, fourths = 0;
  for (const float v : x) squares += double(v) * v, fourths += std::pow(double(v), 4);
  return fourths * double(x.size()) / (squares * squares);
}

// RMS and layer norms, with and without biases, grouped heads, fused q, k and v, parallel residuals, experts, early
// routers, latents, recurrent layers, tied embeddings, learned positions, 12 x 2^k and random cores.
class RotateOf : public ::testing::TestWithParam<const char*> {};

TEST_P(RotateOf, IsTheSameFunction) {
  const TempFile out;
  const Engine engine = engine_of(golden_fixture(GetParam()));
  const std::vector<int32_t> ids = random_ids(engine, 24);
  const RotateReport report = rotate_model(engine, out.path, {});
  EXPECT_GT(report.n_matrices, 0u);
  const Engine rotated = engine_of(out.path);
  const std::vector<float> want = logits_of(engine, ids), got = logits_of(rotated, ids);
  float largest = 1;
  for (const float v : want) largest = std::max(largest, std::abs(v));
  EXPECT_LE(worst_difference(got, want), 1e-4f * largest);
  // And in other numbers: the first MLP, and the embedding, which no longer is the logits' matrix.
  const auto first = [](const Engine& e) {
    for (const Linear* m : matrices(e))
      if (m->id.role == Role::kUp) return floats_of(*e.compute, *m);
    return std::vector<float>();
  };
  EXPECT_GT(distance(first(engine), first(rotated)), 0.5);
  EXPECT_NE(rotated.model->weights().output->rows().data, rotated.model->weights().token_embd.data);
}

INSTANTIATE_TEST_SUITE_P(, RotateOf,
                         ::testing::Values("tiny_llama", "tiny_mixtral", "tiny_qwen2", "tiny_qwen2moe", "tiny_qwen3",
                                           "tiny_gemma", "tiny_phi3", "tiny_phi2", "tiny_gptneox", "tiny_gptj",
                                           "tiny_gpt2", "tiny_opt", "opt_sparse", "tiny_falcon", "tiny_stablelm",
                                           "tiny_starcoder2", "tiny_command_r", "tiny_deepseek3", "tiny_gptoss",
                                           "tiny_smallthinker", "tiny_nemotronh", "tiny_lfm2", "tiny_qwen3next",
                                           "tiny_granite", "tiny_mistral3"));

TEST(Rotate, WhatCannotBeTurnedIsRefused) {
  for (const char* name : {"gemma2", "tiny_gemma3n", "tiny_olmo3", "tiny_bloom", "opt_350m_style", "tiny_xglm",
                           "tiny_bitnet", "tiny_gemma4_moe"}) {
    const TempFile out;
    const Engine engine = engine_of(golden_fixture(name));
    EXPECT_THROW(rotate_model(engine, out.path, {}), Error) << name;
    EXPECT_FALSE(fs::exists(out.path)) << name;
  }
  const TempFile out;
  const Engine engine = engine_of(golden_fixture("tiny_llama"));
  EXPECT_THROW(rotate_model(engine, out.path, {DType::kQ4_0}), Error);
}

// One channel of the stream a hundred times the others, hidden by its norms: every weight that reads it is rounded
// away with its neighbours. Rotated, its energy is everybody's.
TEST(Rotate, MakesOutliersOfWeightsVanish) {
  const TempFile planted, out, plain, turned;
  Engine engine = engine_of(golden_fixture("opt_sparse"));
  for (Layer& layer : engine.model->weights().layers)
    for (NormWeights* norm : {&layer.attn_norm, &layer.ffn_norm}) {
      norm->weight[3] *= 80;
      norm->bias[3] *= 80;
    }
  const std::vector<int32_t> ids = random_ids(engine, 24);
  rotate_model(engine, out.path, {});
  const Engine rotated = engine_of(out.path);
  EXPECT_LE(worst_difference(logits_of(rotated, ids), logits_of(engine, ids)), 2e-3f);
  // ||W[:, c]|| of what reads the first norm, whose weights are multiplied into it.
  const auto inputs_of = [](const Engine& e) {
    const Vector& before = e.model->weights().layers[0].attn_norm.weight;
    for (const Linear* m : matrices(e))
      if (m->id.role == Role::kQuery) {
        const std::vector<float> W = floats_of(*e.compute, *m);
        std::vector<float> norms(m->n_in);
        for (size_t i = 0; i < W.size(); ++i) norms[i % m->n_in] += std::pow(W[i] * before[i % m->n_in], 2.0f);
        for (float& v : norms) v = std::sqrt(v);
        return norms;
      }
    return std::vector<float>();
  };
  EXPECT_GT(kurtosis(inputs_of(engine)), 50);
  EXPECT_LT(kurtosis(inputs_of(rotated)), 5);
}

// A table of positions in a type of few bits holds the turned ones no better than any others: they become f32.
TEST(Rotate, PositionsAreNotRoundedOnceMore) {
  const Engine source = engine_of(golden_fixture("opt_sparse"));
  const std::vector<int32_t> ids = random_ids(source, 24);
  for (const DType type : {DType::kF16, DType::kQ8_0}) {
    const TempFile rounded, out;
    std::vector<std::byte> positions;
    std::vector<TensorToWrite> tensors;
    for (const Tensor& t : source.model->file().tensors) {
      tensors.push_back({t.name, t.dtype, t.shape, [&t] { return t.data; }});
      if (t.name != "position_embd.weight") continue;
      std::vector<float> values(t.n_elems());
      codec(t.dtype).decode(t.data.data(), values.data(), values.size());
      positions.resize(t.rows() * row_bytes(type, t.cols()));
      codec(type).encode(values.data(), positions.data(), values.size());
      tensors.back() = {t.name, type, t.shape, [&positions] { return std::span<const std::byte>(positions); }};
    }
    ASSERT_FALSE(positions.empty());
    write_gguf(rounded.path, source.model->file().meta, tensors);
    const Engine engine = engine_of(rounded.path);
    rotate_model(engine, out.path, {});
    EXPECT_LE(worst_difference(logits_of(engine_of(out.path), ids), logits_of(engine, ids)), 2e-5f) << name_of(type);
  }
}

TEST(Rotate, IsTheSameFileAgain) {
  const TempFile a, b, c;
  const Engine engine = engine_of(golden_fixture("tiny_llama"));
  rotate_model(engine, a.path, {});
  rotate_model(engine, b.path, {});
  rotate_model(engine, c.path, {DType::kF32, 2});
  const auto bytes = [](const fs::path& path) { return read_file(path); };
  EXPECT_EQ(bytes(a.path), bytes(b.path));
  EXPECT_NE(bytes(a.path), bytes(c.path));
}

}  // namespace
}  // namespace hunch
