// A whole calibration of the demo model through the public header, and what uses it then.
#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "hunch/calibrate.h"
#include "hunch/session.h"
#include "io/test_bytes.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

const char* const kDemo = HUNCH_SOURCE_DIR "/models/demo/hunch-demo.gguf";

TEST(ApiCalibration, WritesASidecarThatTheModelThenUses) {
  const TempDir dir("api_calibration");
  LanguageModel model(kDemo, {.n_ctx = 128});
  GenerationOptions sparse;
  sparse.n_tokens = 16;
  sparse.temperature = 0;
  sparse.plan = PlanChoice{.name = "sparse"};
  Session begun(model, {.plan = sparse.plan});
  const std::vector<int32_t> before = generate(model, "Once upon a time", sparse).ids;

  CalibrationOptions options;
  options.density = 0.5;
  options.max_tokens = 1300;
  options.heads = options.screen = false;
  options.sidecar = dir.path / "demo.hunch";
  uint64_t n_told = 0;
  options.on_progress = [&](std::string_view what, uint64_t, uint64_t) { n_told += !what.empty(); };
  const Calibration made = calibrate(model, read_file(HUNCH_SOURCE_DIR "/models/demo/eval.txt"), options);
  EXPECT_EQ(made.sidecar, options.sidecar);
  EXPECT_EQ(made.method, "predict");
  EXPECT_GT(n_told, 10u);
  EXPECT_GT(made.perplexity_dense, 1);
  EXPECT_LT(std::abs(made.perplexity_sparse / made.perplexity_dense - 1), 0.2);
  EXPECT_GT(made.top1, 0.7);
  EXPECT_TRUE(fs::exists(options.sidecar));
  EXPECT_FALSE(fs::exists(options.sidecar.string() + ".partial"));

  EXPECT_NEAR(generate(model, "Once upon a time", sparse).density, 0.5, 0.15) << "the new one";
  PlanChoice named = *sparse.plan;
  named.sidecar = options.sidecar;
  LanguageModel other(kDemo, {.n_ctx = 128});
  GenerationOptions by_name = sparse;
  by_name.plan = named;
  EXPECT_EQ(generate(other, "Once upon a time", by_name).ids, generate(model, "Once upon a time", sparse).ids);
  GenerationOptions own = sparse;
  own.plan.reset();
  EXPECT_EQ(begun.generate("Once upon a time", own).ids, before) << "a session keeps the plan that it began with";
}

}  // namespace
}  // namespace hunch
