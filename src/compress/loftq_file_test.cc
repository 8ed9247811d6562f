#include "compress/loftq_file.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "compress/convert.h"
#include "compress/test_models.h"
#include "linear/corrected.h"

namespace hunch {
namespace {

LoftqOptions options_of(DType dtype, size_t rank = 8) {
  LoftqOptions options;
  options.target = {dtype, {}};
  options.rank = rank;
  return options;
}

const Corrected* corrected(const Linear* w) { return dynamic_cast<const Corrected*>(w); }

class LoftqOf : public ::testing::TestWithParam<const char*> {};

// Fused matrices, experts, by neuron: what can have a pair has one, the rest is rounded.
TEST_P(LoftqOf, IsNearerToTheModelThanRoundingAlone) {
  const TempFile out, plain, back;
  const Engine engine = engine_of(golden_fixture(GetParam()));
  const std::vector<int32_t> ids = random_ids(engine, 300), some(ids.begin(), ids.begin() + 20);
  const std::vector<float> want = logits_of(engine, some);
  const LoftqReport report = compress_loftq(engine, {}, options_of(DType::kQ4_0), out.path);
  EXPECT_EQ(worst_difference(logits_of(engine, some), want), 0.0f) << "the model has changed";
  const Engine small = engine_of(out.path);
  EXPECT_EQ(report.bytes, small.model->weights().bytes);
  const std::vector<const Linear*> was = matrices(engine), is = matrices(small);
  ASSERT_EQ(was.size(), is.size());
  size_t n_pairs = 0;
  for (size_t i = 0; i < was.size(); ++i) {
    SCOPED_TRACE(fmt::format("{} of layer {}", name_of(was[i]->id.role), was[i]->id.layer));
    EXPECT_TRUE(std::ranges::equal(is[i]->bias(), was[i]->bias()));
    const std::vector<float> numbers = floats_of(*engine.compute, *was[i]);
    const double whole = distance(numbers, floats_of(*small.compute, *is[i]));
    EXPECT_LT(whole, 0.15);
    if (!corrected(is[i])) continue;
    ++n_pairs;
    EXPECT_LT(whole, 0.95 * distance(numbers, floats_of(*small.compute, corrected(is[i])->base())));
  }
  for (const auto& [role, r] : report.roles) EXPECT_LT(r.error, r.rounded) << name_of(role);
  if (n_pairs == 0) {
    EXPECT_FALSE(report.notes.empty());
    return;
  }
  ConvertOptions convert;
  convert.dtype = DType::kQ4_0;
  convert.down = DownFile::kRows;
  convert_model(engine.model->file(), plain.path, convert, *engine.compute);
  const std::vector<float> got = logits_of(small, some);
  EXPECT_LT(distance(want, got), distance(want, logits_of(engine_of(plain.path), some)));
  // Floats of it are the same model, but that inputs of products are not rounded.
  convert.dtype = DType::kF32;
  convert_model(small.model->file(), back.path, convert, *small.compute);
  EXPECT_LT(distance(got, logits_of(engine_of(back.path), some)), 0.1);
}

INSTANTIATE_TEST_SUITE_P(Models, LoftqOf,
                         ::testing::Values("llama_mha", "opt_sparse", "tiny_phi3", "tiny_mixtral", "tiny_qwen3"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Loftq, OnATextOutputsAreWhatCounts) {
  const TempFile out, blind;
  const Engine engine = engine_of(golden_fixture("llama_mha"));
  const std::vector<int32_t> ids = random_ids(engine, 400);
  const LoftqReport seen = compress_loftq(engine, ids, options_of(DType::kQ4_0), out.path);
  EXPECT_GT(seen.n_tokens, 0u);
  for (const auto& [role, r] : seen.roles) EXPECT_LT(r.error, r.rounded) << name_of(role);
  compress_loftq(engine, {}, options_of(DType::kQ4_0), blind.path);
  const std::vector<float> want = logits_of(engine, std::span(ids).first(60));
  EXPECT_LT(distance(want, logits_of(engine_of(out.path), std::span(ids).first(60))),
            distance(want, logits_of(engine_of(blind.path), std::span(ids).first(60))));
}

// ReLU's zeros are left out of both parts.
TEST(Loftq, ExactModeSkipsWhatIsZero) {
  const Engine engine = engine_of(golden_fixture("opt_sparse"));
  const std::vector<int32_t> ids = random_ids(engine, 24);
  for (const DType dtype : {DType::kF16, DType::kQ8_0}) {
    const TempFile out;
    compress_loftq(engine, {}, options_of(dtype), out.path);
    const Engine small = engine_of(out.path);
    const auto last_of = [&](const char* mode) {
      ContextOptions options;
      options.n_ctx = ids.size() + 1;
      options.mode = mode;
      Context context(small, options);
      for (const int32_t id : ids) context.decode({&id, 1});
      const std::span<const float> logits = context.decode({&ids[0], 1});
      return std::vector<float>(logits.begin(), logits.end());
    };
    EXPECT_LT(distance(last_of("dense"), last_of("exact")), dtype == DType::kF16 ? 1e-4 : 0.02);
  }
}

TEST(Loftq, RefusesWhatMakesNoSense) {
  const Engine engine = engine_of(golden_fixture("tiny_llama"));
  const TempFile out, again;
  const auto refusal = [&](const Engine& of, const LoftqOptions& options,
                           std::span<const int32_t> ids = {}) -> std::string {
    try {
      compress_loftq(of, ids, options, again.path);
    } catch (const Error& e) {
      EXPECT_FALSE(std::filesystem::exists(again.path));
      return e.what();
    }
    return "nothing";
  };
  LoftqOptions options = options_of(DType::kQ4_0, 0);
  EXPECT_NE(refusal(engine, options).find("rank"), std::string::npos);
  options = options_of(DType::kQ4_0);
  options.rounds = 0;
  EXPECT_NE(refusal(engine, options).find("rounds"), std::string::npos);
  EXPECT_NE(refusal(engine, options_of(DType::kQ4_0), random_ids(engine, 10)).find("at least 256"), std::string::npos);
  compress_loftq(engine, {}, options_of(DType::kQ4_0), out.path);
  EXPECT_NE(refusal(engine_of(out.path), options_of(DType::kQ4_0)).find("made from"), std::string::npos);
}

}  // namespace
}  // namespace hunch
