#include "compress/low_rank.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"
#include "base/file.h"
#include "compress/convert.h"
#include "compress/test_models.h"
#include "compress/whitened_svd.h"
#include "engine/generate.h"
#include "formats/format.h"
#include "io/gguf.h"
#include "io/low_rank_names.h"
#include "linear/values.h"
#include "measure/perplexity.h"
#include "model/test_steps.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

bool is_low_rank(const Linear& linear) { return &linear.factor(Axis::kOut) != &linear; }

// Plain, fused q, k and v, fused gate and up, experts with a shared one, biases.
class LowRankOf : public ::testing::TestWithParam<const char*> {};

TEST_P(LowRankOf, EveryMatrixComesBackFromTheFileAsAPair) {
  const TempFile out;
  const Engine engine = engine_of(golden_fixture(GetParam()));
  const std::vector<int32_t> ids = random_ids(engine, 400);
  const std::vector<float> before = logits_of(engine, std::span(ids).first(20));
  LowRankOptions options;
  options.ratio = 0.8;
  options.dtype = DType::kF32;
  options.text_name = "random.txt";
  const LowRankReport report = compress_low_rank(engine, ids, options, out.path);
  EXPECT_EQ(worst_difference(logits_of(engine, std::span(ids).first(20)), before), 0.0f) << "the model has changed";

  const Engine small = engine_of(out.path);
  const std::vector<const Linear*> want = matrices(engine), got = matrices(small);
  ASSERT_EQ(got.size(), want.size());
  uint64_t bytes = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const Linear &w = *want[i], &g = *got[i];
    SCOPED_TRACE(fmt::format("{} of layer {}, expert {}", name_of(w.id.role), w.id.layer, w.id.expert));
    EXPECT_EQ(g.id, w.id);
    const bool routes = w.id.role == Role::kRouter || w.id.role == Role::kSharedGate;
    EXPECT_EQ(is_low_rank(g), !routes);
    EXPECT_TRUE(std::ranges::equal(g.bias(), w.bias()));
    const double d = distance(floats_of(*engine.compute, w), floats_of(*small.compute, g));
    if (routes) {
      EXPECT_EQ(d, 0);
      continue;
    }
    EXPECT_LT(d, 0.9);
    EXPECT_EQ(g.factor(Axis::kIn).n_out, rank_of_ratio(0.8, w.n_out, w.n_in));
    bytes += g.bytes();
  }
  uint64_t reported = 0;
  for (const auto& [role, r] : report.roles) {
    reported += r.bytes;
    EXPECT_LT(r.error, 0.9) << name_of(role);
    EXPECT_LE(r.bytes, r.bytes_before * 81 / 100 * (info(engine.model->main_dtype()).block_bytes == 2 ? 2 : 1));
  }
  EXPECT_EQ(reported, bytes);
  EXPECT_EQ(report.bytes, small.model->weights().bytes);
  EXPECT_EQ(small.model->file().meta.get_string(kLowRankMethod), "svd-llm");
  EXPECT_EQ(small.model->file().meta.get_string(kLowRankText), "random.txt");
  EXPECT_FLOAT_EQ(float(small.model->file().meta.get_float(kLowRankRatio)), 0.8f);
  for (float v : logits_of(small, std::span(ids).first(20))) ASSERT_TRUE(std::isfinite(v));
}

INSTANTIATE_TEST_SUITE_P(Models, LowRankOf,
                         ::testing::Values("tiny_llama", "tiny_phi3", "tiny_falcon", "tiny_qwen2moe", "tiny_mixtral",
                                           "opt_sparse"),
                         [](const auto& info) { return std::string(info.param); });

TEST(LowRank, WhoSharesATensorWithAChosenMatrixStays) {
  const TempFile out;
  const Engine engine = engine_of(golden_fixture("tiny_phi3"));
  LowRankOptions options;
  options.roles = {Role::kGate, Role::kKey};
  compress_low_rank(engine, random_ids(engine, 300), options, out.path);
  const Engine small = engine_of(out.path);
  const std::vector<const Linear*> want = matrices(engine), got = matrices(small);
  for (size_t i = 0; i < want.size(); ++i) {
    const bool chosen = want[i]->id.role == Role::kGate || want[i]->id.role == Role::kKey;
    EXPECT_EQ(is_low_rank(*got[i]), chosen) << name_of(want[i]->id.role);
    const double d = distance(floats_of(*engine.compute, *want[i]), floats_of(*small.compute, *got[i]));
    EXPECT_EQ(d == 0, !chosen) << name_of(want[i]->id.role);
  }
}

TEST(LowRank, QuantisingKeepsThePairs) {
  const TempFile out;
  const fs::path quantised = out.path.string() + ".f16";
  const Engine engine = engine_of(golden_fixture("opt_sparse"));
  const std::vector<int32_t> ids = random_ids(engine, 300);
  LowRankOptions options;
  options.dtype = DType::kF32;
  compress_low_rank(engine, ids, options, out.path);
  const Engine small = engine_of(out.path);
  ConvertOptions convert;
  convert.dtype = DType::kF16;
  convert_model(small.model->file(), quantised, convert, *small.compute);
  const Engine smaller = engine_of(quantised);
  fs::remove(quantised);
  for (const Linear* linear : matrices(smaller)) EXPECT_TRUE(is_low_rank(*linear));
  const std::span<const int32_t> some = std::span(ids).first(20);
  EXPECT_LT(worst_difference(logits_of(smaller, some), logits_of(small, some)), 0.05f);
  EXPECT_LT(smaller.model->weights().bytes, small.model->weights().bytes);
}

ErrorKind error_of(const Engine& engine, std::span<const int32_t> ids, const LowRankOptions& options) {
  const TempFile out;
  try {
    compress_low_rank(engine, ids, options, out.path);
  } catch (const Error& e) {
    EXPECT_FALSE(fs::exists(out.path));
    return e.kind();
  }
  ADD_FAILURE() << "no error";
  return ErrorKind::kIo;
}

TEST(LowRank, RefusesWhatMakesNoSense) {
  const Engine engine = engine_of(golden_fixture("tiny_llama"));
  const std::vector<int32_t> ids = random_ids(engine, 300);
  for (const double ratio : {0.0, 1.0, -0.5, 2.0, double(NAN)}) {
    LowRankOptions options;
    options.ratio = ratio;
    EXPECT_EQ(error_of(engine, ids, options), ErrorKind::kUsage) << ratio;
  }
  EXPECT_EQ(error_of(engine, std::span(ids).first(100), {}), ErrorKind::kUsage);
  const TempFile once;
  compress_low_rank(engine, ids, {}, once.path);
  EXPECT_EQ(error_of(engine_of(once.path), ids, {}), ErrorKind::kUnsupported);
  Stop stop;
  stop.request();
  const StopScope scope(*engine.compute, &stop);
  EXPECT_EQ(error_of(engine, ids, {}), ErrorKind::kInterrupted);
}

TEST(LowRank, APairThatDoesNotFitIsNamed) {
  const TempFile out;
  const Engine engine = engine_of(golden_fixture("tiny_llama"));
  compress_low_rank(engine, random_ids(engine, 300), {}, out.path);
  ModelFile file = open_gguf(out.path);
  for (Tensor& t : file.tensors)
    if (t.name == low_rank_v("blk.1.ffn_up")) {  // one row fewer than U has columns
      t.data = t.data.first(t.data.size() - row_bytes(t.dtype, t.cols()));
      --t.shape[0];
    }
  file.index();
  Compute compute(1);
  try {
    Model model(std::move(file), {}, compute);
    FAIL() << "it was loaded";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kFormat);
    EXPECT_NE(std::string(e.what()).find("blk.1.ffn_up.low_rank_v.weight"), std::string::npos) << e.what();
  }
}

// What whitening is for, on a model that has learned something.
TEST(LowRank, WhitenedPerplexityIsLowerThanThePlainSvds) {
  const fs::path demo = fs::path(HUNCH_SOURCE_DIR) / "models" / "demo";
  const Engine engine = engine_of(demo / "hunch-demo.gguf");
  const MappedFile text(demo / "eval.txt");
  const std::vector<int32_t> ids =
      engine.need_tokenizer().encode({reinterpret_cast<const char*>(text.bytes().data()), text.bytes().size()});
  double perplexities[2];
  for (const bool whiten : {false, true}) {
    const TempFile out;
    LowRankOptions options;
    options.kind = whiten ? SvdOf::kOutputs : SvdOf::kWeights;
    options.roles = {Role::kUp};
    options.n_tokens = 768;
    compress_low_rank(engine, std::span(ids).subspan(512), options, out.path);
    WindowOptions window;
    window.n_ctx = window.stride = window.max_tokens = 384;  // none of them fitted to
    perplexities[whiten] = perplexity(engine_of(out.path), {}, std::span(ids).first(384), window).perplexity;
  }
  EXPECT_LT(perplexities[1], 0.95 * perplexities[0]);
}

}  // namespace
}  // namespace hunch
