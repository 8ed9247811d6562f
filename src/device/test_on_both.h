// A model on a device and on the processor, for tests that hold the two against each other.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "device/model_on_device.h"
#include "kernels/ops.h"
#include "model/golden_data.h"
#include "model/open_model.h"
#include "model/transformer.h"
#include "select/hot_set.h"
#include "select/linear_predictor.h"
#include "select/low_rank_predictor.h"
#include "select/selectors.h"
#include "vulkan/test_gpu.h"

namespace hunch {

namespace fs = std::filesystem;

inline constexpr size_t kPageTokens = 16;
// Of logits whose largest are some units: sums in f32 in another order than Hugging Face's.
inline constexpr float kTolerance = 2e-4f;

inline const fs::path kFixtures = fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden";

// How busy each neuron is said to be, all differently.
inline std::vector<NeuronSplit> some_split(const Model& model, size_t first_layer, double share) {
  if (share == 1) return {};
  std::vector<std::vector<float>> frequency;
  for (const Layer& l : model.weights().layers)
    for (std::vector<float>& own = frequency.emplace_back(l.mlp.n_ff); float& f : own)
      f = float((&f - own.data()) * 37 % 101) / 101 + float(l.config.index) * 1e-3f;
  const std::vector<std::span<const float>> views(frequency.begin(), frequency.end());
  return split_neurons(model, first_layer, views, share);
}

// A model, its device, and a transformer on each.
struct OnBoth {
  explicit OnBoth(const fs::path& folder, KvType type = {}, size_t n_tokens = 512, size_t first_layer = 0,
                  double share = 1)
      : model(open_model(folder).file, {}, compute),
        device(std::make_shared<ModelOnDevice>(model, compute, vulkan::test_gpu().gpu, first_layer,
                                               some_split(model, first_layer, share))),
        cache(std::make_shared<KvCache>(Transformer::kv_shape(model.config(), type, kPageTokens), n_tokens)),
        host_cache(Transformer::kv_shape(model.config(), type, kPageTokens), n_tokens),
        on_device(model, *cache, compute),
        on_host(model, host_cache, compute) {
    on_device.compute_on(device->steps(cache));
  }

  Compute compute{1};
  Model model;
  std::shared_ptr<ModelOnDevice> device;
  std::shared_ptr<KvCache> cache;
  KvCache host_cache;
  Transformer on_device, on_host;
};

inline std::vector<float> all_logits(Transformer& transformer, KvCache::SequenceId sequence,
                                     std::span<const int32_t> ids, Phase phase = Phase::kPrompt,
                                     const Plan* plan = nullptr, bool as_alone = false) {
  std::vector<uint32_t> rows(ids.size());
  for (uint32_t i = 0; i < rows.size(); ++i) rows[i] = i;
  const Run run{.sequence = sequence, .n_tokens = ids.size(), .phase = phase, .plan = plan, .as_alone = as_alone};
  const MatView<const float> logits = transformer.run({ids, {&run, 1}, rows});
  return {logits.data, logits.data + logits.rows * logits.cols};
}

inline float worst(const std::vector<float>& got, const std::vector<float>& want) {
  EXPECT_EQ(got.size(), want.size());
  float worst = 0;
  for (size_t i = 0; i < std::min(got.size(), want.size()); ++i)
    worst = std::max(worst, std::isnan(got[i]) ? INFINITY : std::abs(got[i] - want[i]));
  return worst;
}

inline std::vector<int32_t> greedy(OnBoth& both, std::vector<int32_t> ids, size_t n, const Plan* plan) {
  const KvCache::SequenceId sequence = both.cache->create();
  std::vector<int32_t> out;
  while (out.size() < n) {
    const Run run{.sequence = sequence,
                  .n_tokens = ids.size(),
                  .phase = out.empty() ? Phase::kPrompt : Phase::kDecode,
                  .plan = plan};
    const uint32_t last = uint32_t(ids.size() - 1);
    const MatView<const float> logits = both.on_device.run({ids, {&run, 1}, {&last, 1}});
    ids = {int32_t(argmax(logits.row(0)))};
    out.push_back(ids[0]);
  }
  both.cache->release(sequence);
  return out;
}

inline std::vector<int32_t> some_ids(const Model& model, size_t n) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < n; ++i) ids.push_back(int32_t((i * 37 + i * i * 11 + 5) % model.config().n_vocab));
  return ids;
}

// A plan of predictors with random weights, that choose about half of the neurons and heads.
struct RandomPlan {
  RandomPlan(const ModelConfig& c, Look neuron_look, Look head_look, bool is_relu) {
    plan = is_relu ? Plan::exact(c) : Plan();
    plan.name = "sparse";
    for (size_t l = 0; l < c.n_layer; ++l) {
      const LayerConfig& lc = c.layers[l];
      if (l == 0) {
        std::vector<float> often = floats(lc.n_ff);
        add(l, Point::kNeurons, std::make_shared<HotSetPredictor>(std::move(often), lc.n_embd), Look::kHere);
      } else {
        const size_t rank = 5;
        add(l, Point::kNeurons,
            std::make_shared<LowRankPredictor>(LowRankWeights{matrix(rank, lc.n_embd), matrix(lc.n_ff, rank),
                                                              floats(lc.n_ff), neuron_look == Look::kHere}),
            neuron_look);
      }
      add(l, Point::kHeads, std::make_shared<LinearPredictor>(matrix(lc.n_kv_head, lc.n_embd), floats(lc.n_kv_head)),
          head_look);
    }
  }
  void add(size_t layer, Point point, std::shared_ptr<const Predictor> predictor, Look look) {
    plan.set(layer, point, {std::make_shared<const Predicted>(*predictor, 0.0f), look});
    plan.owners.push_back(predictor);
  }
  std::vector<float> floats(size_t n) {
    std::vector<float> values(n);
    for (float& v : values) v = std::normal_distribution<float>()(random);
    return values;
  }
  WeightView matrix(size_t rows, size_t cols) {
    const auto values = std::make_shared<std::vector<float>>(floats(rows * cols));
    plan.owners.push_back(values);
    return weight_view({values->data(), rows, cols});
  }

  Plan plan;
  std::mt19937 random{3};
};

}  // namespace hunch
