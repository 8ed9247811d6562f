// A whole calibration of a small planted model through the public header, and what uses it then.
#include <gtest/gtest.h>

#include <cmath>

#include "hunch/calibrate.h"
#include "hunch/hunch.h"
#include "hunch/session.h"
#include "io/gguf.h"
#include "io/test_bytes.h"
#include "synth/sidecar.h"
#include "synth/synth.h"
#include "synth/text.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

SynthOptions planted() {
  SynthOptions o;
  o.shape = synth_shape("opt-125m");
  o.shape.n_layer = 2;
  o.shape.n_embd = 96;
  o.shape.n_ff = 256;
  o.shape.n_head = o.shape.n_kv_head = 4;
  o.shape.n_vocab = 1024;
  o.shape.n_ctx = 128;
  o.planting.n_contexts = 16;
  o.planting.density.assign(2, 0.2);
  return o;
}

TEST(ApiCalibration, WritesASidecarThatTheModelThenUses) {
  const TempDir dir("api_calibration");
  const fs::path path = dir.path / "planted.gguf";
  Compute compute(2);
  write_synth(path, planted(), compute);
  const std::string text = synth_text(synth_text_ids(planted(), 1400, 1));
  const std::string prompt = text.substr(0, 60);
  write_sidecar(sidecar_path(path), synth_sidecar(planted(), open_gguf(path)));
  LanguageModel model(path);
  GenerationOptions sparse;
  sparse.n_tokens = 16;
  sparse.temperature = 0;
  sparse.plan = PlanChoice{.name = "sparse"};
  Session begun(model, {.plan = sparse.plan});
  const Generation before = generate(model, prompt, sparse);

  CalibrationOptions options;
  options.density = 0.15;
  options.max_tokens = 1300;
  options.heads = options.screen = false;
  options.sidecar = dir.path / "own.hunch";
  uint64_t n_told = 0;
  options.on_progress = [&](std::string_view what, uint64_t, uint64_t) { n_told += !what.empty(); };
  const Calibration made = calibrate(model, text, options);
  EXPECT_EQ(made.sidecar, options.sidecar);
  EXPECT_EQ(made.method, "predict");
  EXPECT_GT(n_told, 10u);
  EXPECT_GT(made.perplexity_dense, 1);
  EXPECT_LT(std::abs(made.perplexity_sparse / made.perplexity_dense - 1), 0.2);
  EXPECT_GT(made.top1, 0.7);
  EXPECT_TRUE(fs::exists(options.sidecar));
  EXPECT_FALSE(fs::exists(options.sidecar.string() + ".partial"));

  const Generation answer = generate(model, prompt, sparse);
  EXPECT_NEAR(answer.density, 0.15, 0.1);
  EXPECT_NE(answer.density, before.density) << "the new one";
  LanguageModel other(path);
  sparse.plan->sidecar = options.sidecar;
  EXPECT_EQ(generate(other, prompt, sparse).ids, answer.ids);
  GenerationOptions own = sparse;
  own.plan.reset();
  const Generation kept = begun.generate(prompt, own);
  EXPECT_EQ(kept.ids, before.ids);
  EXPECT_EQ(kept.density, before.density) << "a session keeps the plan that it began with";
}

TEST(ApiCalibration, SaysThroughCWhatItMade) {
  const TempDir dir("api_calibration_c");
  const fs::path path = dir.path / "planted.gguf";
  Compute compute(2);
  write_synth(path, planted(), compute);
  const std::string text = synth_text(synth_text_ids(planted(), 1300, 1));
  hunch_model* model = hunch_load(path.string().c_str(), nullptr);
  ASSERT_TRUE(model) << hunch_last_error();
  hunch_calibration_options options;
  hunch_calibration_options_init(&options);
  options.density = 0.00001;
  options.max_tokens = 1200;
  options.heads = options.screen = 0;
  options.predictor = "hot";
  options.look_ahead = "attention";
  hunch_calibration made;
  ASSERT_EQ(hunch_calibrate(model, text.c_str(), &options, &made), 0) << hunch_last_error();
  EXPECT_STREQ(made.method, "predict");
  EXPECT_EQ(made.sidecar, sidecar_path(path).string());
  EXPECT_TRUE(fs::exists(made.sidecar));
  EXPECT_EQ(made.met, 0);
  EXPECT_NE(std::string(made.notes).find("cannot be met"), std::string::npos) << made.notes;
  // A caller who was compiled before these fields were there is given no more than he has.
  hunch_calibration old{};
  old.method = "untouched";
  hunch_calibrate_sized(model, "Too short.", &options, &old, offsetof(hunch_calibration, method));
  EXPECT_STREQ(old.method, "untouched");
  hunch_free(model);
}

}  // namespace
}  // namespace hunch
