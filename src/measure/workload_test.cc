#include "measure/workload.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "engine/context.h"
#include "formats/format.h"
#include "measure/workload_memory.h"
#include "model/test_steps.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

Engine engine_of(const std::string& name) { return load_engine(golden_fixture(name), {.n_threads = 1}); }

std::vector<int32_t> some_ids(size_t n) {
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = int32_t(4 + (i * 37 + i * i * 11) % 50);
  return ids;
}

// What the engine's meter counts for one token behind n_before others.
StepStats metered_step(const Engine& engine, size_t n_before, DType kv) {
  ContextOptions options;
  options.n_ctx = n_before + 1;
  options.mode = "dense";
  options.kv_type = kv;
  Context context(engine, options);
  if (n_before) context.append(some_ids(n_before));
  context.clear_stats();
  const int32_t id = 7;
  context.decode({&id, 1});
  return context.stats();
}

// Bytes of all but states, which the meter does not count: apart those of keys.
struct Counted {
  double weights = 0, keys = 0;
};
Counted counted(const Workload& work, const Pass& pass) {
  Counted out{ends_of(work, pass).bytes, 0};
  for (const LayerWork& layer : work.layers) {
    for (const Part part : {Part::kMixing, Part::kMlp, Part::kExperts}) out.weights += work_of(layer, part, pass).bytes;
    out.keys += work_of(layer, Part::kKeys, pass).bytes;
  }
  return out;
}

std::vector<std::string> all_fixtures() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(golden_fixture("")))
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

// Grouped queries, mixtures, latents, recurrent layers, windows, borrowed keys, several streams: all that there is.
TEST(Workload, CountsTheBytesThatTheMeterCountsInEveryArchitecture) {
  size_t n_tested = 0;
  for (const std::string& name : all_fixtures()) {
    const Engine engine = engine_of(name);
    if (!engine.config().causal) continue;
    if (engine.config().layers[0].relative.on) {
      EXPECT_THROW(workload_of(*engine.model), Error) << name;
      continue;
    }
    const Workload work = workload_of(*engine.model);
    for (const size_t n_before : {size_t{0}, size_t{23}}) {
      const DType kv = n_before && cache_fits(work, DType::kQ8_0) ? DType::kQ8_0 : DType::kF32;
      const StepStats step = metered_step(engine, n_before, kv);
      const Counted got = counted(work, {.n_before = n_before, .kv = kv});
      EXPECT_NEAR(got.weights, double(step.weight_bytes), 0.5) << name << ", " << n_before << " tokens before";
      EXPECT_NEAR(double(engine.model->bytes_per_token() + work.lookup_bytes), got.weights, 0.5) << name;
      EXPECT_NEAR(got.keys, double(step.kv_bytes), 0.5) << name << ", " << n_before << " tokens before";
    }
    ++n_tested;
  }
  EXPECT_GE(n_tested, 50u);
}

// A prompt in one pass: dense models read their weights once, and each key once.
TEST(Workload, CountsTheBytesOfAPrompt) {
  for (const std::string& name : {"tiny_llama", "gemma2", "tiny_deepseek3", "tiny_gpt2", "tiny_lfm2"}) {
    const Engine engine = engine_of(name);
    const Workload work = workload_of(*engine.model);
    ContextOptions options;
    options.n_ctx = 29;
    options.mode = "dense";
    Context context(engine, options);
    context.append(some_ids(29));
    const Pass pass{.n_tokens = 29};
    EXPECT_NEAR(counted(work, pass).keys, double(context.stats().kv_bytes), 0.5) << name;
    if (work.layers.back().n_expert) continue;  // which of them a prompt takes is the text's affair
    EXPECT_NEAR(counted(work, pass).weights, double(context.stats().weight_bytes), 0.5) << name;
  }
}

// Every expert's share of reads is the mean of what routers without preference read.
TEST(Workload, ExpertsThatManyTokensShareAreReadOnce) {
  LayerWork layer;
  layer.n_expert = 8, layer.n_used = 2;
  layer.expert = {800, 1600};
  const auto read = [&](size_t n) { return work_of(layer, Part::kExperts, {.n_sequences = n}).bytes; };
  EXPECT_NEAR(read(1), 400, 1e-9);
  EXPECT_NEAR(read(2), 1600 * (1 - 0.75 * 0.75), 1e-9);
  EXPECT_NEAR(read(1000), 1600, 1e-6);
  EXPECT_NEAR(work_of(layer, Part::kExperts, {.n_sequences = 3}).flops, 3 * 2 * 200, 1e-9);
  layer.n_used = 8;  // all of them
  EXPECT_NEAR(read(1), 1600, 1e-9);
}

TEST(Workload, OperationsOfALlamaByHand) {
  const Engine engine = engine_of("tiny_llama");
  const ModelConfig& c = engine.config();
  const Workload work = workload_of(*engine.model);
  const double d = double(c.n_embd), kv = double(c.n_kv_head * c.d_head), q = double(c.n_head * c.d_head);
  const double ff = double(c.n_ff), layers = double(c.n_layer), vocab = double(c.n_vocab);
  ASSERT_TRUE(c.gated);
  ASSERT_LT(c.n_kv_head, c.n_head);
  const double matrices = layers * (d * q + 2 * d * kv + q * d + 3 * d * ff);
  const double n_before = 10, keys = n_before + 1;
  EXPECT_NEAR(work_of(work, {.n_before = 10}).flops, 2 * (matrices + d * vocab) + layers * 4 * q * keys, 0.5);
  // A prompt of 6: keys 1 + 2 + .. + 6, and one row of logits.
  EXPECT_NEAR(work_of(work, {.n_tokens = 6}).flops, 2 * (6 * matrices + d * vocab) + layers * 4 * q * 21, 0.5);
}

TEST(Workload, OperationsOfLatentsAndWindowsByHand) {
  const Engine deepseek = engine_of("tiny_deepseek3");
  const LayerConfig& c = deepseek.config().layers[0];
  ASSERT_GT(c.latent.rank, 0u);
  const Work keys = work_of(workload_of(*deepseek.model).layers[0], Part::kKeys, {.n_before = 9});
  EXPECT_NEAR(keys.flops, 2.0 * double(c.n_head) * double(c.d_head + c.latent.rank) * 10, 0.5);
  EXPECT_NEAR(keys.bytes, 2.0 * double(c.d_head) * 4 * 10, 0.5);  // a latent beside its rotated key, and once more

  const Engine gemma = engine_of("gemma2");
  const Workload work = workload_of(*gemma.model);
  size_t n_windowed = 0;
  for (size_t l = 0; l < work.layers.size(); ++l) {
    const LayerConfig& g = gemma.config().layers[l];
    // Brute force: what each of 40 tokens behind 7 others sees.
    double sees = 0;
    for (size_t t = 7; t < 47; ++t) sees += double(g.window ? std::min(t + 1, g.window) : t + 1);
    EXPECT_NEAR(work_of(work.layers[l], Part::kKeys, {.n_tokens = 40, .n_before = 7}).flops,
                4.0 * double(g.n_head * g.d_head) * sees, 0.5);
    n_windowed += g.window > 0 && g.window < 40;
  }
  EXPECT_GT(n_windowed, 0u);
}

TEST(Workload, OperationsOfAStateByHand) {
  const Engine engine = engine_of("tiny_nemotronh");
  const Workload work = workload_of(*engine.model);
  bool found = false;
  for (size_t l = 0; l < work.layers.size(); ++l) {
    const LayerConfig& c = engine.config().layers[l];
    if (c.mixer != Mixer::kMamba2) continue;
    found = true;
    const RecurrentConfig& r = c.recurrent;
    const Work state = work_of(work.layers[l], Part::kState, {.n_sequences = 3});
    EXPECT_NEAR(state.flops, 3.0 * double(2 * r.n_taps * r.n_conv() + 5 * r.n_head * r.d_head * r.d_state), 0.5);
    EXPECT_NEAR(state.bytes, 3.0 * 2 * 4 * double((r.n_taps - 1) * r.n_conv() + r.n_head * r.d_head * r.d_state), 0.5);
  }
  EXPECT_TRUE(found);
}

// 1000 weights of two bytes: a FLOP per byte and sequence.
TEST(Workload, TurnsWhereTheRooflineSays) {
  LayerWork layer;
  layer.mixing = {1000, 2000};
  const Roofline machine{.flops_per_s = 80, .bytes_per_s = 4};  // edge at 20
  EXPECT_EQ(turning_batch(layer, Part::kMixing, {}, machine), 20u);
  EXPECT_DOUBLE_EQ(machine.seconds(work_of(layer, Part::kMixing, {.n_sequences = 10})), 500);   // 2000 bytes
  EXPECT_DOUBLE_EQ(machine.seconds(work_of(layer, Part::kMixing, {.n_sequences = 40})), 1000);  // 80,000 operations
  // Keys of each sequence: 4 operations and 8 bytes a key never reach 20.
  layer.keys = {.n_rows = 2, .width = 1, .n_head = 1, .width_dot = 1, .width_sum = 1};
  EXPECT_EQ(turning_batch(layer, Part::kKeys, {.n_before = 99}, machine), std::nullopt);
  Workload work;
  work.layers = {layer};
  // n (2000 + 4) >= 20 (2000 + 8 n), and with 100 keys each n (2000 + 400) >= 20 (2000 + 800 n).
  EXPECT_EQ(turning_batch(work, {.n_before = 0}, machine), 22u);
  EXPECT_EQ(turning_batch(work, {.n_before = 99}, machine), std::nullopt);
  work.layers[0].keys.n_head = 1000;  // many queries to a key: 4000 operations and 8 bytes
  const std::optional<size_t> all = turning_batch(work, {.n_before = 0}, machine);
  // n (2000 + 4000) >= 20 (2000 + 8 n): n >= 40000 / 5840
  EXPECT_EQ(all, 7u);
  EXPECT_DOUBLE_EQ(seconds_of(work, {.n_sequences = 10}, machine), 500 + 500);  // 40,000 operations of attention
  // 80 tokens of keys are 2000 bytes and more: 250 of 8.
  EXPECT_EQ(keys_outweigh_weights(work, DType::kF32), 250u);
  work.layers[0].keys.n_head = 10;  // n (n + 1) / 2 * 40 >= 2000 n
  EXPECT_EQ(attention_outweighs_matrices(work), 99u);
  work.layers[0].keys.window = 100;
  EXPECT_EQ(keys_outweigh_weights(work, DType::kF32), std::nullopt);
}

TEST(WorkloadMemory, HoldsWhatTheModelAndItsCacheHold) {
  for (const std::string& name : all_fixtures()) {
    const Engine engine = engine_of(name);
    if (engine.config().layers[0].relative.on) continue;  // refused
    const Workload work = workload_of(*engine.model);
    const KvShape shape = Transformer::kv_shape(engine.config(), DType::kF16);
    EXPECT_NEAR(cache_bytes_per_token(work, DType::kF16), double(KvCache::bytes_per_token(shape)), 0.5) << name;
    EXPECT_NEAR(state_bytes(work), double(KvCache::bytes_per_sequence(shape)), 0.5) << name;
    double all = 0;
    for (const double layer : cache_need(work, DType::kF16, 100, 3)) all += layer;
    EXPECT_NEAR(all, 3.0 * (100 * cache_bytes_per_token(work, DType::kF16) + state_bytes(work)), 0.5) << name;
    // In f32 every number takes four bytes, whatever it is of.
    uint64_t n_numbers = 0;
    for (const Tensor& t : engine.model->file().tensors) n_numbers += t.n_elems();
    EXPECT_NEAR(weights_need(in_precision(work, precisions()[0])).all(), 4.0 * double(n_numbers), 0.5) << name;
  }
}

TEST(WorkloadMemory, DevicesAreFilledLayerByLayer) {
  const MemoryNeed need{.first = 5, .last = 5, .layers = {4, 4, 4, 4}, .table_copy = 0};
  const std::vector<double> none(4, 0.0), cache(4, 1.0);
  EXPECT_EQ(need.all(), 26);
  EXPECT_EQ(n_devices(need, none, 26), 1u);
  EXPECT_EQ(n_devices(need, none, 25), 2u);
  EXPECT_EQ(n_devices(need, none, 9), 3u);   // 5 + 4, 4 + 4, 4 + 5
  EXPECT_EQ(n_devices(need, none, 8), 4u);   // 5, 4 + 4, 4 + 4, 5: not 3.25
  EXPECT_EQ(n_devices(need, cache, 9), 6u);  // layers of 5: none beside another
  EXPECT_EQ(n_devices(need, none, 4), std::nullopt);
  const MemoryNeed tied{.first = 5, .last = 0, .layers = {4, 4}, .table_copy = 5};
  const std::vector<double> two(2, 0.0);
  EXPECT_EQ(n_devices(tied, two, 13), 1u);
  EXPECT_EQ(n_devices(tied, two, 9), 2u);  // 5 + 4, 4 + a copy of 5
  EXPECT_EQ(n_devices(tied, two, 8), 3u);
}

}  // namespace
}  // namespace hunch
