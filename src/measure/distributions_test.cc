#include "measure/distributions.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "base/error.h"
#include "engine/context.h"
#include "linear/stored.h"
#include "linear/values.h"
#include "model/test_steps.h"

namespace hunch {
namespace {

Engine engine_of(const std::string& name) { return load_engine(golden_fixture(name), {.n_threads = 2}); }

std::vector<int32_t> some_ids(size_t n) {
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = int32_t(4 + (i * 37 + i * i * 11) % 50);
  return ids;
}

uint64_t sum(const Magnitudes& m) { return std::accumulate(m.counts.begin(), m.counts.end(), uint64_t{0}); }

TEST(Magnitudes, CountInUnitsOfTheirRootMeanSquare) {
  Magnitudes m;
  const std::vector<float> values = {1, -1, 1, -1, 0, 0, 0, 0};  // rms sqrt(1/2): ones are 2^0.5 of it
  m.fill(values);
  EXPECT_NEAR(m.rms, std::sqrt(0.5), 1e-9);
  EXPECT_NEAR(m.kurtosis, 2, 1e-9);
  EXPECT_EQ(m.n_zeros, 4u);
  EXPECT_EQ(sum(m), 4u);
  EXPECT_EQ(m.counts[size_t((0.5 + 8) * 3)], 4u);
  EXPECT_LE(Magnitudes::begin_of(25), std::sqrt(2));
  EXPECT_GT(Magnitudes::begin_of(26), std::sqrt(2));
  Magnitudes normal;
  std::mt19937 rng(1);
  std::normal_distribution<float> distribution(0, 3);
  std::vector<float> many(100000);
  for (float& v : many) v = distribution(rng);
  normal.fill(many);
  EXPECT_NEAR(normal.kurtosis, 3, 0.1);
  EXPECT_NEAR(normal.rms, 3, 0.05);
  Magnitudes zeros;
  zeros.fill(std::vector<float>(5, 0.0f));
  EXPECT_EQ(sum(zeros), 0u);
  EXPECT_EQ(zeros.n_zeros, 5u);
}

// Everything that the first layer's down projection reads, once more.
struct Neurons : Observer {
  std::vector<std::vector<float>> rows;
  void on_mlp(const MlpPlace& place, MatView<const float>, MatView<const float> act) override {
    if (place.layer == 0)
      for (size_t t = 0; t < act.rows; ++t) rows.emplace_back(act.row(t).begin(), act.row(t).end());
  }
};

TEST(Distributions, AreThoseOfABruteForceCount) {
  const Engine engine = engine_of("opt_sparse");
  const std::vector<int32_t> ids = some_ids(70);
  const auto layers = distributions(engine, nullptr, ids, {.max_tokens = 60, .n_ctx = 25});
  ASSERT_EQ(layers.size(), engine.config().n_layer);
  Neurons watched;
  ContextOptions options;
  options.n_ctx = 25;
  options.mode = "dense";
  Context context(engine, options);
  context.set_observer(&watched);
  for (size_t begin = 0; begin < 60; begin += 25) {
    context.truncate(0);
    context.append(std::span(ids).subspan(begin, std::min<size_t>(25, 60 - begin)));
  }
  ASSERT_EQ(watched.rows.size(), 60u);
  std::vector<float> all, largest(watched.rows[0].size());
  for (const auto& row : watched.rows)
    for (size_t i = 0; i < row.size(); ++i) {
      all.push_back(row[i]);
      largest[i] = std::max(largest[i], std::abs(row[i]));
    }
  Magnitudes want;
  want.fill(all);
  const InputDistribution& got = layers[0].inputs[size_t(InputOf::kNeurons)];
  EXPECT_EQ(got.n_tokens, 60u);
  EXPECT_EQ(got.largest, largest);
  EXPECT_EQ(got.values.counts, want.counts);
  EXPECT_EQ(got.values.n_zeros, want.n_zeros);
  EXPECT_GT(got.values.n_zeros, 0u);  // ReLU
  EXPECT_NEAR(got.values.kurtosis, want.kurtosis, 1e-9 * want.kurtosis);
  EXPECT_NEAR(got.values.largest, want.largest, 0);
  const Linear& up = *engine.model->weights().layers[1].mlp.up;
  std::vector<float> W(up.n_out * up.n_in);
  decode_rows(*engine.compute, Values(*engine.compute, up).rows(), {W.data(), up.n_out, up.n_in});
  Magnitudes weights;
  weights.fill(W);
  EXPECT_EQ(layers[1].weights.at(Role::kUp).counts, weights.counts);
  EXPECT_TRUE(layers[0].errors.empty());
}

TEST(Distributions, OutliersAreChannelsFarAboveTheMedian) {
  InputDistribution d;
  d.largest = {1, 2, 1, 40, 3, 39.9f, 2};
  EXPECT_NEAR(d.peak(), 20, 1e-6);
  EXPECT_EQ(d.outliers(), std::vector<uint32_t>{3});
}

// A matrix that is half as large is off by half, in weights and in outputs alike.
TEST(Distributions, ErrorsAgainstTheOriginal) {
  const Engine original = engine_of("opt_sparse"), changed = engine_of("opt_sparse");
  const Linear& v = *changed.model->weights().layers[1].attention.v;
  const WeightView W = v.rows();
  ASSERT_TRUE(info(W.dtype).is_float());
  // The file is mapped read-only, so that the changed matrix is a new one.
  std::vector<float> values(W.rows * W.cols);
  decode_rows(*changed.compute, W, {values.data(), W.rows, W.cols});
  for (float& w : values) w /= 2;
  const_cast<Layer&>(changed.model->weights().layers[1]).attention.v =
      std::make_unique<Stored>(v.id, weight_view(MatView<const float>(values.data(), W.rows, W.cols)), WeightView(),
                               std::vector<float>(v.bias().begin(), v.bias().end()), changed.model->layouts());
  const auto layers = distributions(changed, &original, some_ids(64), {});
  for (size_t l = 0; l < layers.size(); ++l)
    for (const auto& [role, error] : layers[l].errors) {
      const double want = l == 1 && role == Role::kValue ? 0.5 : 0;
      EXPECT_NEAR(error.weights, want, 1e-6) << l << " " << name_of(role);
      ASSERT_TRUE(error.outputs) << name_of(role);
      EXPECT_NEAR(*error.outputs, want, 1e-5) << l << " " << name_of(role);
    }
  EXPECT_THROW(distributions(engine_of("tiny_llama"), &original, some_ids(64), {}), Error);
  EXPECT_THROW(distributions(original, nullptr, some_ids(1), {}), Error);
}

TEST(Distributions, AWeightThatIsNoNumberIsNamed) {
  const Engine original = engine_of("opt_sparse"), damaged = engine_of("opt_sparse");
  const Linear& v = *damaged.model->weights().layers[1].attention.v;
  std::vector<float> values(v.n_out * v.n_in);
  decode_rows(*damaged.compute, v.rows(), {values.data(), v.n_out, v.n_in});
  values[7] = NAN;
  damaged.model->weights().layers[1].attention.v =
      std::make_unique<Stored>(v.id, weight_view(MatView<const float>(values.data(), v.n_out, v.n_in)), WeightView(),
                               std::vector<float>(v.bias().begin(), v.bias().end()), damaged.model->layouts());
  for (const Engine* reads : {&original, static_cast<const Engine*>(nullptr)}) try {
      distributions(damaged, reads, some_ids(64), {});
      ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kFormat);
      EXPECT_NE(std::string(e.what()).find("v of layer 1"), std::string::npos) << e.what();
    }
}

TEST(Distributions, ExpertsAndOtherMixersHaveWeights) {
  for (const char* name : {"tiny_mixtral", "tiny_nemotronh", "tiny_deepseek3"}) {
    const Engine engine = engine_of(name);
    const auto layers = distributions(engine, &engine, some_ids(40), {});
    for (const LayerDistributions& layer : layers) {
      EXPECT_FALSE(layer.weights.empty()) << name;
      for (const auto& [role, error] : layer.errors) EXPECT_EQ(error.weights, 0) << name;
    }
  }
}

}  // namespace
}  // namespace hunch
