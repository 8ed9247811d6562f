// MLPs whose busy neurons are a device's and whose others are the processor's.
#include <gtest/gtest.h>

#include <algorithm>

#include "device/device_fit.h"
#include "device/devices.h"
#include "device/step_buffers.h"
#include "device/test_on_both.h"

namespace hunch {
namespace {

using NeuronsTest = vulkan::GpuTest;

template <class Of>
std::string message_of(ErrorKind kind, const Of& of) {
  try {
    of();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  return "nothing was thrown";
}

TEST_F(NeuronsTest, DividedMlpsGiveTheSameTexts) {
  for (const char* name : {"opt_sparse", "tiny_opt", "tiny_fatrelu", "tiny_drelu"})
    for (const size_t first_layer : {0, 1}) {
      SCOPED_TRACE(fmt::format("{} from layer {}", name, first_layer));
      OnBoth both(kFixtures / name, {}, 512, first_layer, 0.4);
      const GoldenData golden(kFixtures / name / "golden");
      const Plan exact = Plan::exact(both.model.config());
      const std::vector<int32_t>& ids = golden.sequences[0].ids;
      for (const Plan* plan : {static_cast<const Plan*>(nullptr), &exact}) {
        for (const Phase phase : {Phase::kPrompt, Phase::kDecode}) {
          both.on_device.stats = both.on_host.stats = {};
          const KvCache::SequenceId there = both.cache->create(), here = both.host_cache.create();
          EXPECT_LE(worst(all_logits(both.on_device, there, ids, phase, plan), golden.array("s0.logits")), kTolerance);
          all_logits(both.on_host, here, ids, phase, plan);
          const StepStats &device = both.on_device.stats, &host = both.on_host.stats;
          // (A ReLU on both sides makes zeros that the processor looks for too.)
          const bool counts = plan && phase == Phase::kDecode && std::string_view(name) != "tiny_drelu";
          for (size_t l = 0; counts && l < host.active_neurons.size(); ++l)
            EXPECT_NEAR(double(device.active_neurons[l]), double(host.active_neurons[l]), 1) << l;
          EXPECT_GT(device.weight_bytes, 0u);
          both.cache->release(there);
          both.host_cache.release(here);
        }
        EXPECT_EQ(greedy(both, ids, golden.sequences[0].greedy.size(), plan), golden.sequences[0].greedy);
      }
    }
}

// Both kinds of predictors, here and looking ahead, score hot neurons and cold ones.
TEST_F(NeuronsTest, PredictorsChooseAmongBothParts) {
  for (const char* name : {"opt_sparse", "tiny_fatrelu"})
    for (const bool looks_ahead : {false, true}) {
      SCOPED_TRACE(fmt::format("{}{}", name, looks_ahead ? ", looking ahead" : ""));
      OnBoth both(kFixtures / name, {}, 512, 0, 0.3);
      const RandomPlan random(both.model.config(), looks_ahead ? Look::kAttention : Look::kHere, Look::kHere, true);
      const std::vector<int32_t> ids = some_ids(both.model, 12);
      const std::vector<float> got =
          all_logits(both.on_device, both.cache->create(), ids, Phase::kDecode, &random.plan);
      EXPECT_LE(worst(got, all_logits(both.on_host, both.host_cache.create(), ids, Phase::kDecode, &random.plan)),
                kTolerance);
      EXPECT_EQ(both.on_device.stats.active_neurons, both.on_host.stats.active_neurons);
    }
}

TEST_F(NeuronsTest, ALayerMayHaveAllOfItsNeuronsOnOneSide) {
  OnBoth both(kFixtures / "opt_sparse");
  const size_t n_ff = both.model.weights().layers[0].mlp.n_ff;
  const std::vector<float> busy(n_ff, 0.9f), idle(n_ff, 0.1f);
  const std::span<const float> frequency[] = {idle, busy};
  const std::vector<NeuronSplit> split = split_neurons(both.model, 0, frequency, 0.5);
  EXPECT_TRUE(split[0].hot.empty());
  EXPECT_TRUE(split[1].cold.empty());
  ModelOnDevice device(both.model, both.compute, gpu_, 0, split);
  const auto cache = std::make_shared<KvCache>(both.cache->shape(), 128);
  Transformer divided(both.model, *cache, both.compute);
  divided.compute_on(device.steps(cache));
  const Plan exact = Plan::exact(both.model.config());
  const std::vector<int32_t> ids = some_ids(both.model, 30);
  for (const Phase phase : {Phase::kPrompt, Phase::kDecode})
    EXPECT_LE(worst(all_logits(divided, cache->create(), ids, phase, &exact),
                    all_logits(both.on_host, both.host_cache.create(), ids, phase, &exact)),
              kTolerance);
}

TEST_F(NeuronsTest, TheBusiestAreTheDevicesAndSharesFollowSpeedAndMemory) {
  OnBoth both(kFixtures / "opt_sparse");
  const Model& model = both.model;
  const size_t n_ff = model.weights().layers[0].mlp.n_ff;
  std::vector<float> first(n_ff, 0.0f), second(n_ff, 0.1f);
  first[3] = 1.0f;
  first[7] = 0.5f;
  second[5] = 0.75f;
  const std::span<const float> frequency[] = {first, second};
  const std::vector<NeuronSplit> split = split_neurons(model, 0, frequency, 3.0 / double(2 * n_ff));
  EXPECT_EQ(split[0].hot, (std::vector<uint32_t>{3, 7}));
  EXPECT_EQ(split[1].hot, (std::vector<uint32_t>{5}));
  EXPECT_EQ(split[0].cold.size() + split[0].hot.size(), n_ff);
  // Of what is read 1 + 0.75 + 0.5 + 0.1 (n_ff - 1): a device twice as fast takes two thirds of it.
  const double total = 2.25 + 0.1 * double(n_ff - 1);
  const size_t n_rest = size_t(std::ceil((total * 2 / 3 - 2.25) / 0.1 - 1e-4));
  EXPECT_NEAR(balanced_share(model, 0, frequency, 100, 50), double(3 + n_rest) / double(2 * n_ff),
              1.5 / double(2 * n_ff));
  EXPECT_GT(measure_neurons_gb_per_s(model, both.compute), 0);
  const uint64_t all = bytes_on_device(model, 2, 64);
  EXPECT_EQ(neurons_that_fit(model, 2, all, 64), 1);
  const double some =
      neurons_that_fit(model, 2, all - cold_bytes(model.weights().layers[0], {{}, std::vector<uint32_t>(n_ff)}), 64);
  EXPECT_NEAR(some, 0.5, 1e-6);
}

TEST_F(NeuronsTest, WhatCannotBeDividedIsRefusedByName) {
  Compute compute{1};
  const Model llama(open_model(kFixtures / "llama_mha").file, {}, compute);
  const Model opt(open_model(kFixtures / "opt_sparse").file, {}, compute);
  const auto put = [&](const Model& model, DeviceOptions options) { put_on_device(options, model, {}, 64, compute); };
  EXPECT_NE(message_of(ErrorKind::kUnsupported, [&] { put(llama, {.name = "vulkan:0", .neurons = 0.5}); })
                .find("the neurons of layer 0 cannot be divided between a device and the processor (gpu_neurons): its "
                      "down projection does not lie by neuron"),
            std::string::npos);
  EXPECT_NE(message_of(ErrorKind::kNotFound, [&] { put(opt, {.name = "vulkan:0", .neurons = 0.5}); })
                .find("how often the neurons of layer 0 are active is not known (gpu_neurons)"),
            std::string::npos);
  EXPECT_NE(
      message_of(ErrorKind::kUsage, [&] { put(opt, {.name = "vulkan:0", .neurons = 1.5}); }).find("expected 0 to 1"),
      std::string::npos);
  EXPECT_NE(message_of(ErrorKind::kUsage, [&] { put(opt, {.neurons = 0.5}); }).find("the device (device) is cpu"),
            std::string::npos);
}

}  // namespace
}  // namespace hunch
