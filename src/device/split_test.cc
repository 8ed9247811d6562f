// A model that a device has a part of: its last layers, and the pages of the cache for which there is room.
#include <gtest/gtest.h>

#include "device/device_fit.h"
#include "device/devices.h"
#include "device/step_buffers.h"
#include "device/steps_on_device.h"
#include "device/test_on_both.h"

namespace hunch {
namespace {

const fs::path kDemo = fs::path(HUNCH_SOURCE_DIR) / "models" / "demo" / "hunch-demo.gguf";

using SplitTest = vulkan::GpuTest;

// Of what is free now, so much may be taken, until this ends.
class MemoryLimit {
 public:
  explicit MemoryLimit(uint64_t bytes) : gpu_(vulkan::test_gpu().gpu) {
    gpu_->limit_memory(gpu_->used_bytes() + bytes);
  }
  ~MemoryLimit() { gpu_->limit_memory(0); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  const std::shared_ptr<vulkan::Gpu> gpu_;
};

template <class Of>
std::string memory_message(const Of& of) {
  try {
    of();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kMemory) << e.what();
    return e.what();
  }
  return "nothing was thrown";
}

TEST_F(SplitTest, LayersThatTheProcessorHasGiveTheSameTexts) {
  for (const char* name : {"llama_mha", "tiny_opt", "tiny_gemma", "opt_sparse", "tiny_fatrelu"}) {
    SCOPED_TRACE(name);
    OnBoth both(kFixtures / name, {}, 512, 1);
    ASSERT_EQ(both.device->first_layer(), 1u);
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
        EXPECT_EQ(device.n_tokens, host.n_tokens);
        EXPECT_EQ(device.all_neurons, host.all_neurons);
        EXPECT_EQ(device.all_heads, host.all_heads);
        for (size_t l = 0; plan && phase == Phase::kDecode && l < host.active_neurons.size(); ++l)
          EXPECT_NEAR(double(device.active_neurons[l]), double(host.active_neurons[l]), 1) << l;
        both.cache->release(there);
        both.host_cache.release(here);
      }
      EXPECT_EQ(greedy(both, ids, golden.sequences[0].greedy.size(), plan), golden.sequences[0].greedy);
    }
  }
}

TEST_F(SplitTest, PromptsThatTakeSeveralStepsThereCrossOnce) {
  OnBoth both(kFixtures / "llama_mha", {}, 512, 1);
  const std::vector<int32_t> ids = some_ids(both.model, 2 * kMostDeviceTokens + 7);
  const std::vector<float> got = all_logits(both.on_device, both.cache->create(), ids);
  EXPECT_LE(worst(got, all_logits(both.on_host, both.host_cache.create(), ids)), kTolerance);
}

// The page that both share has a half here and a half there.
TEST_F(SplitTest, BranchesOfATextGoOnInBothHalves) {
  OnBoth both(kFixtures / "llama_mha", {}, 512, 1);
  const std::vector<int32_t> ids = some_ids(both.model, kPageTokens + 5), more = {7, 8, 9}, others = {100, 3, 50};
  const KvCache::SequenceId first = both.cache->create();
  all_logits(both.on_device, first, ids);
  const KvCache::SequenceId second = both.cache->fork(first);
  const std::vector<float> got_first = all_logits(both.on_device, first, more);
  const std::vector<float> got_second = all_logits(both.on_device, second, others);
  const auto on_host = [&](const std::vector<int32_t>& rest) {
    const KvCache::SequenceId sequence = both.host_cache.create();
    all_logits(both.on_host, sequence, ids);
    return all_logits(both.on_host, sequence, rest);
  };
  EXPECT_LE(worst(got_first, on_host(more)), kTolerance);
  EXPECT_LE(worst(got_second, on_host(others)), kTolerance);
}

// What the processor's selectors need is no business of the device's.
TEST_F(SplitTest, OnlyTheDevicesLayersHaveToBeWhatItComputes) {
  OnBoth both(kFixtures / "llama_mha", {}, 512, 1);
  struct Half final : Selector {
    void choose(Compute&, const Evidence& evidence, std::span<Rows> out) const override {
      for (Rows& rows : out)
        for (std::vector<uint32_t>& ids = rows.refill(evidence.n_rows); uint32_t i : {0u, 3u, 5u}) ids.push_back(i);
    }
    std::string_view kind() const override { return "half"; }
  };
  Plan plan;
  plan.set(0, Point::kNeurons, {std::make_shared<const Half>()});
  const std::vector<int32_t> ids = {1, 2, 3, 4};
  const std::vector<float> got = all_logits(both.on_device, both.cache->create(), ids, Phase::kDecode, &plan);
  EXPECT_LE(worst(got, all_logits(both.on_host, both.host_cache.create(), ids, Phase::kDecode, &plan)), kTolerance);
  plan.set(1, Point::kNeurons, {std::make_shared<const Half>()});
  EXPECT_THROW(all_logits(both.on_device, both.cache->create(), ids, Phase::kDecode, &plan), Error);
}

TEST_F(SplitTest, PagesWithoutRoomLieWithTheHostAndAreReadAlike) {
  for (const KvType type : {KvType(DType::kF32), KvType(DType::kF16)}) {
    OnBoth both(kFixtures / "llama_mha", type);
    const ModelConfig& c = both.model.config();
    const auto cache = std::make_shared<KvCache>(both.cache->shape(), 512);
    const DeviceKv kv{.n_pages = cache->n_pages(), .page_tokens = kPageTokens, .half = type == KvType(DType::kF16)};
    const MemoryLimit limit(StepBuffers::bytes(c, 0, 512) + 3 * kv.page_bytes(c, 0));
    const auto steps = both.device->steps(cache);
    EXPECT_EQ(dynamic_cast<const StepsOnDevice&>(*steps).kv().n_near, 3u);
    Transformer spilled(both.model, *cache, both.compute);
    spilled.compute_on(steps);
    const std::vector<int32_t> ids = some_ids(both.model, 4 * kPageTokens + 5), more = {7, 8, 9};
    const auto in_branches = [&](Transformer& transformer, KvCache& in) {
      std::vector<float> all = all_logits(transformer, in.create(), some_ids(both.model, kPageTokens));
      const KvCache::SequenceId first = in.create();
      for (const std::vector<float>& some :
           {all_logits(transformer, first, ids), all_logits(transformer, in.fork(first), more),  // copies a far page
            all_logits(transformer, first, more, Phase::kDecode)})
        all.insert(all.end(), some.begin(), some.end());
      return all;
    };
    EXPECT_EQ(in_branches(spilled, *cache), in_branches(both.on_device, *both.cache));
  }
}

TEST_F(SplitTest, WithoutRoomForAStepTheAnswerIsFewerLayers) {
  OnBoth both(kFixtures / "llama_mha");
  const MemoryLimit limit(1000);
  const auto cache = std::make_shared<KvCache>(both.cache->shape(), 512);
  const std::string message = memory_message([&] { both.device->steps(cache); });
  EXPECT_NE(message.find("what a step computes with needs "), std::string::npos) << message;
  EXPECT_NE(message.find("fewer of the layers (gpu_layers)"), std::string::npos) << message;
}

TEST_F(SplitTest, AModelThatDoesNotFitIsAdvisedHowManyOfItsLayersDo) {
  Compute compute{1};
  const Model model(open_model(kDemo).file, {}, compute);
  const size_t n = model.config().n_layer, n_ctx = 64;
  const uint64_t some = bytes_on_device(model, n / 2, n_ctx);
  EXPECT_EQ(layers_that_fit(model, some, n_ctx), n / 2);
  EXPECT_EQ(layers_that_fit(model, some - 1, n_ctx), n / 2 - 1);
  EXPECT_EQ(layers_that_fit(model, UINT64_MAX, n_ctx), n);
  EXPECT_EQ(layers_that_fit(model, 1000, n_ctx), 0u);
  EXPECT_LT(layers_that_fit(model, some, 100 * n_ctx), n / 2);  // their keys take room too

  const auto put = [&](const DeviceOptions& options) { return put_on_device(options, model, {}, n_ctx, compute); };
  const std::string message = memory_message([&] { put({.name = "vulkan:0", .memory_bytes = some}); });
  EXPECT_NE(
      message.find(fmt::format("the last {} of its {} layers fit: have it compute {} (gpu_layers)", n / 2, n, n / 2)),
      std::string::npos)
      << message;
  const auto device = put({.name = "vulkan:0", .n_layers = n / 2, .memory_bytes = some});
  ASSERT_TRUE(device);
  EXPECT_EQ(device->first_layer(), n - n / 2);
  EXPECT_NE(device->name().find(fmt::format("{} of {} layers", n / 2, n)), std::string::npos);
  EXPECT_EQ(put({.name = "vulkan:0", .n_layers = 99})->first_layer(), 0u);  // all there are
  EXPECT_EQ(put({.name = "vulkan:0", .n_layers = 0}), nullptr);
  EXPECT_THROW(put({.name = "cpu", .n_layers = 2}), Error);
}

}  // namespace
}  // namespace hunch
