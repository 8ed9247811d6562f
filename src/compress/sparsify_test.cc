#include "compress/sparsify.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "base/error.h"
#include "io/gguf.h"
#include "model/open_model.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

fs::path fixture(const char* name) { return fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / name; }

std::vector<int32_t> random_ids(const Engine& engine, size_t n) {
  std::mt19937 rng(1);
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = int32_t(rng() % engine.config().n_vocab);
  return ids;
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

SparsifyOptions quick() {
  SparsifyOptions options;
  options.n_epochs = 1;
  options.rank = 32;
  return options;
}

class SparsifyTest : public ::testing::Test {
 protected:
  Engine engine_ = load_engine(fixture("opt_sparse"), {1});
  std::vector<int32_t> ids_ = random_ids(engine_, 1500);
};

TEST_F(SparsifyTest, MeetsAPerplexityBudgetOnTextItDidNotSee) {
  SparsifyOptions options = quick();
  options.max_ppl_increase = 0.02;
  const SparsifyReport report = sparsify(engine_, ids_, options);
  ASSERT_EQ(report.rows.size(), 3u);
  EXPECT_TRUE(report.met);
  EXPECT_LE(report.rows[2].perplexity, report.rows[0].perplexity * 1.02);
  EXPECT_EQ(report.layers.size(), engine_.config().n_layer);
  EXPECT_EQ(report.n_train + report.n_calibrate + report.n_check, ids_.size());
}

TEST_F(SparsifyTest, MeetsADensityAndComesBackFromItsFile) {
  SparsifyOptions options = quick();
  options.density = 0.3;
  for (Look input : {Look::kHere, Look::kAttention}) {
    options.input = input;
    const SparsifyReport report = sparsify(engine_, ids_, options);
    EXPECT_TRUE(report.met);
    EXPECT_NEAR(report.rows[2].density_mlp, 0.3, 0.12);
    const fs::path path = fs::temp_directory_path() / ("hunch-sparsify-" + std::to_string(::getpid()) + ".hunch");
    write_sidecar(path, report.sidecar);
    const Engine again = load_engine(fixture("opt_sparse"), {.n_threads = 1, .sidecar = path});
    ASSERT_TRUE(again.sidecar);
    ContextOptions sparse;
    sparse.mode = "sparse";
    Context context(again, sparse);
    context.append(std::span(ids_).first(8));
    context.clear_stats();
    context.decode(std::span(ids_).subspan(8, 1));
    EXPECT_GT(context.stats().predictor_bytes, 0u);
    fs::remove(path);
  }
}

TEST_F(SparsifyTest, SaysWhenADensityIsOutOfReach) {
  SparsifyOptions options = quick();
  options.density = 1e-5;
  const SparsifyReport report = sparsify(engine_, ids_, options);
  EXPECT_FALSE(report.met);
  ASSERT_FALSE(report.notes.empty());
  EXPECT_NE(report.notes.back().find("cannot be met"), std::string::npos) << report.notes.back();
}

TEST_F(SparsifyTest, RefusesWhatItCannotDo) {
  EXPECT_NE(message_of([&] { sparsify(engine_, std::span(ids_).first(500), quick()); }).find("500 tokens"),
            std::string::npos);
  SparsifyOptions bad = quick();
  bad.max_ppl_increase = -1;
  EXPECT_NE(message_of([&] { sparsify(engine_, ids_, bad); }).find("perplexity"), std::string::npos);
  const Engine smooth = load_engine(fixture("bloom_h6"), {1});
  SparsifyOptions predict = quick();
  predict.method = "predict";
  EXPECT_NE(message_of([&] { sparsify(smooth, random_ids(smooth, 1500), predict); }).find("never exactly zero"),
            std::string::npos);
}

// A model with another first layer, written beside the test's other files.
Engine changed(const std::function<void(Tensor&, std::vector<std::byte>&)>& change) {
  ModelFile file = open_model(fixture("opt_sparse")).file;
  static std::vector<std::vector<std::byte>> kept;
  for (Tensor& t : file.tensors) {
    std::vector<std::byte>& copy = kept.emplace_back(t.data.begin(), t.data.end());
    change(t, copy);
    t.data = copy;
  }
  const fs::path path = fs::temp_directory_path() / ("hunch-sparsify-" + std::to_string(::getpid()) + ".gguf");
  write_gguf(path, file);
  Engine engine = load_engine(path, {1});
  fs::remove(path);
  return engine;
}

TEST(Sparsify, NamesTheLayerWhoseActivationsAreNotNumbers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Engine engine = changed([&](Tensor& t, std::vector<std::byte>& data) {
    if (t.name == "blk.1.ffn_up.bias") std::memcpy(data.data(), &nan, sizeof(nan));
  });
  const std::string message = message_of([&] { sparsify(engine, random_ids(engine, 1500), quick()); });
  EXPECT_NE(message.find("layer 1"), std::string::npos) << message;
  EXPECT_NE(message.find("not finite"), std::string::npos) << message;
}

TEST(Sparsify, ALayerWithoutActiveNeuronsStaysExactAndIsNamed) {
  const Engine engine = changed([&](Tensor& t, std::vector<std::byte>& data) {
    if (t.name != "blk.0.ffn_up.bias") return;
    std::vector<float> low(data.size() / sizeof(float), -1e6f);
    std::memcpy(data.data(), low.data(), data.size());
  });
  SparsifyOptions options = quick();
  options.density = 0.6;
  const SparsifyReport report = sparsify(engine, random_ids(engine, 1500), options);
  EXPECT_EQ(report.layers[0].predictor, "none");
  EXPECT_NE(report.layers[0].note.find("layer 0: no neuron was active"), std::string::npos);
}

}  // namespace
}  // namespace hunch
