// Mixtures are sparse twice: their router takes some of the experts, every method some of their neurons.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "compress/sparsify.h"
#include "compress/test_models.h"
#include "io/gguf.h"
#include "model/open_model.h"

namespace hunch {
namespace {

// The fixture, with ReLU where predictors are wanted.
void write_mixture(const std::filesystem::path& path, bool relu) {
  ModelFile file = open_model(golden_fixture("qwen2_moe")).file;
  if (relu) file.meta.set(file.meta.get_string("general.architecture") + ".activation", std::string("relu"));
  write_gguf(path, file);
}

class SparsifyExperts : public ::testing::TestWithParam<const char*> {
 protected:
  bool predicts() const { return GetParam() == std::string("predict"); }
  SparsifyOptions options() const {
    SparsifyOptions o;
    o.method = GetParam();
    o.n_epochs = 1;
    o.rank = 8;
    o.density = predicts() ? 0.25 : 0.6;
    o.screen = false;
    return o;
  }
};

TEST_P(SparsifyExperts, MeetADensityAndComeBackFromTheirFile) {
  const TempFile file, sidecar;
  write_mixture(file.path, predicts());
  const Engine mixture = engine_of(file.path);
  const std::vector<int32_t> ids = random_ids(mixture, 2500);
  const SparsifyReport report = sparsify(mixture, ids, options());
  const MoeConfig& moe = mixture.config().moe;
  const CompareRow& sparse = report.rows.back();
  // TEAL's density is of all the layer's weights; the others' of the chosen experts' neurons, of GRIFFIN those that saw
  // enough of the prompt.
  const double of_chosen = sparse.density_mlp / (double(moe.n_expert_used) / double(moe.n_expert));
  EXPECT_NEAR(of_chosen, options().density,
              GetParam() == std::string("teal")      ? 0.3
              : GetParam() == std::string("griffin") ? 0.15
                                                     : 0.08);
  EXPECT_LT(sparse.bytes_per_token, report.rows.front().bytes_per_token);
  EXPECT_GT(sparse.kl, 0);
  EXPECT_LT(sparse.kl, 0.5);
  for (const SparsifyLayer& l : report.layers) EXPECT_LT(l.bytes, l.exact_bytes);

  write_sidecar(sidecar.path, report.sidecar);
  const Engine again = load_engine(file.path, {.n_threads = 2, .sidecar = sidecar.path});
  ASSERT_TRUE(again.sidecar);
  const auto decoded = [&](const Engine& engine, const char* mode) {
    ContextOptions o;
    o.mode = mode;
    Context context(engine, o);
    std::vector<float> logits;
    context.append(std::span(ids).first(40));
    context.clear_stats();
    for (size_t i = 40; i < 44; ++i) {
      const std::span<const float> row = context.decode(std::span(ids).subspan(i, 1));
      logits.insert(logits.end(), row.begin(), row.end());
    }
    EXPECT_EQ(context.stats().predictor_bytes > 0, predicts() && mode == std::string("sparse"));
    return logits;
  };
  const std::vector<float> dense = decoded(again, "dense"), restricted = decoded(again, "sparse");
  EXPECT_GT(worst_difference(restricted, dense), 1e-4f);
}

// Half of the neurons that a predictor leaves out would have been zero: it finds more than chance.
TEST(ExpertPredictorFits, PredictorsOfExpertsAreWorthTheirBytes) {
  const TempFile file;
  write_mixture(file.path, true);
  const Engine mixture = engine_of(file.path);
  const std::vector<int32_t> ids = random_ids(mixture, 2500);
  SparsifyOptions options;
  options.method = "predict";
  options.predictor = "svd";
  options.density = 0.5;
  options.screen = false;
  const SparsifyReport report = sparsify(mixture, ids, options);
  for (const SparsifyLayer& l : report.layers) {
    EXPECT_EQ(l.predictor.substr(0, 3), "svd");
    EXPECT_NEAR(l.active, 0.5, 0.2);
    EXPECT_GT(l.recall, 0.7) << "chance: 0.5";
    EXPECT_LT(l.missed, 0.2);
  }
}

TEST(ExpertPredictorFits, AnInterruptedFitGoesOn) {
  const TempFile file;
  write_mixture(file.path, true);
  const Engine mixture = engine_of(file.path);
  const std::vector<int32_t> ids = random_ids(mixture, 2500);
  SparsifyOptions options;
  options.method = "predict";
  options.predictor = "hot";
  options.heads = HeadMode::kOff;
  options.density = 0.5;
  options.screen = false;
  options.finished = std::filesystem::temp_directory_path() / fmt::format("hunch-experts-{}", ::getpid());
  const SparsifyReport first = sparsify(mixture, ids, options), second = sparsify(mixture, ids, options);
  EXPECT_TRUE(std::ranges::any_of(
      second.notes, [](const std::string& note) { return note.find("finished by an earlier run") != note.npos; }));
  for (size_t l = 0; l < first.layers.size(); ++l) {
    EXPECT_EQ(second.layers[l].bytes, first.layers[l].bytes);
    EXPECT_EQ(second.layers[l].density, first.layers[l].density);
  }
  EXPECT_EQ(second.rows.back().kl, first.rows.back().kl);
  std::filesystem::remove_all(options.finished);
}

INSTANTIATE_TEST_SUITE_P(Methods, SparsifyExperts, ::testing::Values("cats", "griffin", "teal", "predict"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace hunch
