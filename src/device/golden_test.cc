// Whole models on a device: logits and greedy texts of Hugging Face's own code, and what hunch's processor says.
#include <gtest/gtest.h>

#include "device/step_buffers.h"
#include "device/test_on_both.h"

namespace hunch {
namespace {

using DeviceTest = vulkan::GpuTest;
class DeviceGolden : public vulkan::GpuTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(DeviceGolden, LogitsAndGreedyTextAreHuggingFaces) {
  OnBoth both(kFixtures / GetParam());
  const GoldenData golden(kFixtures / GetParam() / "golden");
  const Plan exact = Plan::exact(both.model.config());
  for (const Plan* plan : {static_cast<const Plan*>(nullptr), &exact})
    for (const Phase phase : {Phase::kPrompt, Phase::kDecode}) {
      SCOPED_TRACE(fmt::format("{}, {}", plan ? "exact" : "dense", phase == Phase::kPrompt ? "prompt" : "decoded"));
      for (size_t s = 0; s < golden.sequences.size(); ++s) {
        SCOPED_TRACE("text " + std::to_string(s));
        const auto& text = golden.sequences[s];
        const KvCache::SequenceId sequence = both.cache->create();
        const std::vector<float> got = all_logits(both.on_device, sequence, text.ids, phase, plan);
        EXPECT_LE(worst(got, golden.array(fmt::format("s{}.logits", s))), kTolerance);
        both.cache->release(sequence);
        if (phase == Phase::kDecode) {
          EXPECT_EQ(greedy(both, text.ids, text.greedy.size(), plan), text.greedy);
        }
      }
    }
}

// GQA, RoPE with stretched frequencies, windows, biases, learned positions, ReLU, FATReLU, a ReLU on both, a scaled
// embedding that the output shares.
INSTANTIATE_TEST_SUITE_P(Models, DeviceGolden,
                         ::testing::Values("tiny_llama", "llama_mha", "tiny_opt", "opt_sparse", "tiny_qwen2",
                                           "tiny_fatrelu", "tiny_drelu", "tiny_gemma", "tiny_smollm3"),
                         [](const auto& info) { return std::string(info.param); });

TEST_F(DeviceTest, ExactModeReadsTheNeuronsThatTheProcessorReads) {
  for (const char* name : {"opt_sparse", "tiny_fatrelu"}) {
    OnBoth both(kFixtures / name);
    const Plan exact = Plan::exact(both.model.config());
    const std::vector<int32_t> ids = some_ids(both.model, 12);
    const std::vector<float> got = all_logits(both.on_device, both.cache->create(), ids, Phase::kDecode, &exact);
    const std::vector<float> want = all_logits(both.on_host, both.host_cache.create(), ids, Phase::kDecode, &exact);
    EXPECT_LE(worst(got, want), kTolerance) << name;
    const StepStats &device = both.on_device.stats, &host = both.on_host.stats;
    EXPECT_EQ(device.all_neurons, host.all_neurons);
    for (size_t l = 0; l < host.active_neurons.size(); ++l) {
      EXPECT_LT(device.active_neurons[l], device.all_neurons[l]) << name;
      // A value that sums to zero but for rounding may fall to either side.
      EXPECT_NEAR(double(device.active_neurons[l]), double(host.active_neurons[l]), 1) << name;
    }
    EXPECT_LT(device.weight_bytes, ids.size() * both.model.bytes_per_token()) << name;
  }
}

TEST_F(DeviceTest, PredictorsChooseWhatTheyChooseOnTheProcessor) {
  for (const char* name : {"opt_sparse", "tiny_fatrelu", "llama_mha"})
    for (const bool looks_ahead : {false, true}) {
      SCOPED_TRACE(fmt::format("{}{}", name, looks_ahead ? ", looking ahead" : ""));
      OnBoth both(kFixtures / name);
      const RandomPlan random(both.model.config(), looks_ahead ? Look::kAttention : Look::kHere,
                              looks_ahead ? Look::kPreviousAttention : Look::kHere,
                              std::string_view(name) != "llama_mha");
      const std::vector<int32_t> ids = some_ids(both.model, 12), prompt = {1, 2, 3};
      const KvCache::SequenceId there = both.cache->create(), here = both.host_cache.create();
      all_logits(both.on_device, there, prompt, Phase::kPrompt, &random.plan);
      all_logits(both.on_host, here, prompt, Phase::kPrompt, &random.plan);
      both.on_device.stats = both.on_host.stats = {};
      const std::vector<float> got = all_logits(both.on_device, there, ids, Phase::kDecode, &random.plan);
      EXPECT_LE(worst(got, all_logits(both.on_host, here, ids, Phase::kDecode, &random.plan)), kTolerance);
      const StepStats &device = both.on_device.stats, &host = both.on_host.stats;
      EXPECT_EQ(device.all_neurons, host.all_neurons);
      EXPECT_EQ(device.active_neurons, host.active_neurons);
      EXPECT_EQ(device.active_heads, host.active_heads);
      EXPECT_LT(device.active_neurons[1], device.all_neurons[1]);
      EXPECT_LT(device.active_heads[1], device.all_heads[1]);
      EXPECT_GT(device.predictor_bytes, 0u);
    }
}

TEST_F(DeviceTest, PromptsOfSeveralRecordedStepsAreOneText) {
  OnBoth both(kFixtures / "llama_mha");
  const std::vector<int32_t> ids = some_ids(both.model, 2 * kMostDeviceTokens + 7);
  const std::vector<float> got = all_logits(both.on_device, both.cache->create(), ids);
  const std::vector<float> want = all_logits(both.on_host, both.host_cache.create(), ids);
  EXPECT_LE(worst(got, want), kTolerance);
}

TEST_F(DeviceTest, WhoSharesAStepChangesRoundingOnlyAndAsAloneNothing) {
  OnBoth both(kFixtures / "llama_mha");
  const std::vector<int32_t> a = some_ids(both.model, 40), b = {5, 9, 2, 77, 1, 30};
  const std::vector<float> alone_a = all_logits(both.on_device, both.cache->create(), a),
                           alone_b = all_logits(both.on_device, both.cache->create(), b);
  std::vector<int32_t> ids = b;
  ids.insert(ids.end(), a.begin(), a.end());
  std::vector<uint32_t> rows(ids.size());
  for (uint32_t i = 0; i < rows.size(); ++i) rows[i] = i;
  const hunch::Run runs[] = {{.sequence = both.cache->create(), .n_tokens = b.size()},
                             {.sequence = both.cache->create(), .n_tokens = a.size()}};
  const MatView<const float> both_logits = both.on_device.run({ids, runs, rows});
  std::vector<float> want = alone_b;
  want.insert(want.end(), alone_a.begin(), alone_a.end());
  EXPECT_LE(worst({both_logits.data, both_logits.data + want.size()}, want), kTolerance);

  std::vector<float> one_by_one;
  const KvCache::SequenceId sequence = both.cache->create();
  for (const int32_t id : b) {
    const std::vector<float> next = all_logits(both.on_device, sequence, {&id, 1}, Phase::kDecode);
    one_by_one.insert(one_by_one.end(), next.begin(), next.end());
  }
  EXPECT_EQ(all_logits(both.on_device, both.cache->create(), b, Phase::kVerify, nullptr, true), one_by_one);
}

TEST_F(DeviceTest, BranchesOfATextGoOnEachByItself) {
  OnBoth both(kFixtures / "llama_mha");
  const std::vector<int32_t> ids = some_ids(both.model, kPageTokens + 5), more = {7, 8, 9}, others = {100, 3, 50};
  const KvCache::SequenceId first = both.cache->create();
  all_logits(both.on_device, first, ids);
  const KvCache::SequenceId second = both.cache->fork(first);  // shares both pages, the second to be written
  const std::vector<float> got_first = all_logits(both.on_device, first, more);
  const std::vector<float> got_second = all_logits(both.on_device, second, others);
  both.cache->truncate(first, ids.size());  // and takes another way itself
  const std::vector<float> again = all_logits(both.on_device, first, others);
  const auto on_host = [&](const std::vector<int32_t>& rest) {
    const KvCache::SequenceId sequence = both.host_cache.create();
    all_logits(both.on_host, sequence, ids);
    return all_logits(both.on_host, sequence, rest);
  };
  EXPECT_LE(worst(got_first, on_host(more)), kTolerance);
  EXPECT_LE(worst(got_second, on_host(others)), kTolerance);
  EXPECT_EQ(again, got_second);
}

TEST_F(DeviceTest, AHalvedCacheRoundsAsTheProcessorsDoes) {
  OnBoth both(kFixtures / "llama_mha", DType::kF16);
  const std::vector<int32_t> ids = some_ids(both.model, 60);
  const std::vector<float> got = all_logits(both.on_device, both.cache->create(), ids);
  EXPECT_LE(worst(got, all_logits(both.on_host, both.host_cache.create(), ids)), 5e-3f);
}

TEST_F(DeviceTest, WhatIsNotComputedIsRefusedByName) {
  const auto message = [](const auto& of) -> std::string {
    try {
      of();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
      return e.what();
    }
    return "nothing was thrown";
  };
  const auto open = [&](const char* name) { return message([&] { OnBoth both(kFixtures / name); }); };
  EXPECT_EQ(open("tiny_bloom"),
            "this bloom model is not computed on devices yet: it has ALiBi (layer 0); use the processor, cpu");
  EXPECT_NE(open("tiny_mixtral").find("it has experts"), std::string::npos);
  EXPECT_NE(open("tiny_gemma2").find("it has norms behind a block"), std::string::npos);
  EXPECT_NE(open("tiny_qwen3").find("it has heads of 10 values"), std::string::npos);
  EXPECT_NE(message([&] { OnBoth both(kFixtures / "llama_mha", DType::kBF16); }).find("f32 or f16, not bf16"),
            std::string::npos);

  OnBoth both(kFixtures / "llama_mha");
  struct Nobody final : Selector {
    void choose(Compute&, const Evidence&, std::span<Rows>) const override {}
    std::string_view kind() const override { return "nobody"; }
  };
  Plan plan;
  plan.name = "sparse";
  plan.set(1, Point::kLive, {std::make_shared<const Nobody>()});
  const std::vector<int32_t> ids = {1, 2};
  const KvCache::SequenceId sequence = both.cache->create();
  EXPECT_EQ(message([&] { all_logits(both.on_device, sequence, ids, Phase::kDecode, &plan); }),
            "devices follow plans of exact zeros, of large activations and of predictors; the plan 'sparse' chooses "
            "neurons by "
            "their gate (in layer 1, by 'nobody')");
  EXPECT_EQ(both.cache->n_tokens(sequence), 0u);
}

}  // namespace
}  // namespace hunch
