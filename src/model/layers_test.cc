// Models whose layers differ: every layer computes what it computes in a model of equal ones.
#include <gtest/gtest.h>

#include "model/open_model.h"
#include "model/test_steps.h"
#include "select/key_policies.h"
#include "select/selectors.h"

namespace hunch {
namespace {

constexpr size_t kVocab = 40, kEmbd = 32, kHead = 8;

struct Widths {
  size_t n_head, n_kv_head, n_ff;
};

// A Llama of random weights; a layer's are those of its number and widths, whatever the others are.
ModelFile random_llama(const std::vector<Widths>& layers) {
  ModelFile file;
  std::vector<uint32_t> heads, kv_heads, widths;
  for (const Widths& l : layers) {
    heads.push_back(uint32_t(l.n_head));
    kv_heads.push_back(uint32_t(l.n_kv_head));
    widths.push_back(uint32_t(l.n_ff));
  }
  Metadata& m = file.meta;
  m.set("general.architecture", std::string("llama"));
  m.set("llama.block_count", uint32_t(layers.size()));
  m.set("llama.embedding_length", uint32_t(kEmbd));
  m.set("llama.context_length", uint32_t(64));
  m.set("llama.attention.key_length", uint32_t(kHead));
  m.set("llama.attention.value_length", uint32_t(kHead));
  m.set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  m.set("llama.attention.head_count", MetaArray(heads));
  m.set("llama.attention.head_count_kv", MetaArray(kv_heads));
  m.set("llama.feed_forward_length", MetaArray(widths));
  const auto add = [&](const std::string& name, std::vector<uint64_t> shape, uint32_t seed) {
    size_t n = 1;
    for (const uint64_t d : shape) n *= d;
    auto values = std::make_shared<std::vector<float>>(n);
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal(shape.size() == 1 ? 1.0f : 0.0f, 0.2f);
    for (float& v : *values) v = normal(rng);
    file.tensors.push_back({name, DType::kF32, std::move(shape), std::as_bytes(std::span(*values))});
    file.owners.push_back(values);
  };
  add("token_embd.weight", {kVocab, kEmbd}, 1);
  add("output_norm.weight", {kEmbd}, 2);
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto& [n_head, n_kv_head, n_ff] = layers[i];
    const std::string blk = "blk." + std::to_string(i) + ".";
    const auto seed = uint32_t(100 * (i + 1));
    add(blk + "attn_norm.weight", {kEmbd}, seed);
    add(blk + "ffn_norm.weight", {kEmbd}, seed + 1);
    add(blk + "attn_q.weight", {n_head * kHead, kEmbd}, seed + 2);
    add(blk + "attn_k.weight", {n_kv_head * kHead, kEmbd}, seed + 3);
    add(blk + "attn_v.weight", {n_kv_head * kHead, kEmbd}, seed + 4);
    add(blk + "attn_output.weight", {kEmbd, n_head * kHead}, seed + 5);
    add(blk + "ffn_gate.weight", {n_ff, kEmbd}, seed + 6);
    add(blk + "ffn_up.weight", {n_ff, kEmbd}, seed + 7);
    add(blk + "ffn_down.weight", {kEmbd, n_ff}, seed + 8);
  }
  file.index();
  return file;
}

struct Loaded {
  Compute& compute;
  Model model;
  KvCache cache;
  Transformer transformer;

  Loaded(Compute& c, ModelFile file)
      : compute(c),
        model(std::move(file), {}, c),
        cache(Transformer::kv_shape(model.config(), DType::kF32, 8), 256),
        transformer(model, cache, c) {}

  // Layer `layer` alone; in steps of 5 and then 1 tokens, so that it reads what it cached.
  std::vector<float> block(size_t layer, const std::vector<int32_t>& ids, const std::vector<float>& stream) {
    const auto sequence = cache.create();
    std::vector<float> out;
    for (size_t first = 0; first < ids.size();) {
      const size_t n = first == 0 ? 5 : 1;
      const Run run{sequence, n};
      const size_t width = model.config().n_embd;
      const MatView<const float> in =
          stream.empty() ? MatView<const float>() : MatView<const float>(&stream[first * width], n, width);
      append_rows(transformer.run_blocks({std::span(ids).subspan(first, n), {&run, 1}, {}}, layer, layer + 1, in), out);
      first += n;
    }
    return out;
  }
};

const std::vector<int32_t> kIds = {3, 17, 5, 22, 9, 30, 1, 12};

// Layer by layer, `mixed` is `first` and then `second`.
void expect_composed(Compute& compute, ModelFile mixed, ModelFile first, ModelFile second) {
  Loaded m(compute, std::move(mixed)), a(compute, std::move(first)), b(compute, std::move(second));
  const std::vector<float> stream = a.block(0, kIds, {});
  EXPECT_LE(worst_difference(m.block(0, kIds, {}), stream), 1e-6f);
  EXPECT_LE(worst_difference(m.block(1, kIds, stream), b.block(1, kIds, stream)), 1e-6f);
  EXPECT_GT(worst_difference(a.block(1, kIds, stream), b.block(1, kIds, stream)), 1e-3f) << "the layers are equal";
}

TEST(Layers, HaveHeadsAndWidthsOfTheirOwn) {
  Compute compute(2);
  const Widths narrow{4, 2, 48}, wide{6, 3, 80};
  expect_composed(compute, random_llama({narrow, wide}), random_llama({narrow, narrow}), random_llama({wide, wide}));
}

// Where windowed layers rotate by another base than the others.
TEST(Layers, HaveARopeOfTheirOwn) {
  Compute compute(2);
  const auto gemma2 = [](double all, double windowed) {
    ModelFile file = open_model(golden_fixture("tiny_gemma2")).file;
    file.meta.set("gemma2.rope.freq_base", float(all));
    if (windowed > 0) file.meta.set("gemma2.rope.freq_base_swa", float(windowed));
    return file;
  };
  expect_composed(compute, gemma2(100, 7), gemma2(7, 0), gemma2(100, 0));
}

class MixedLayers : public ::testing::Test {
 protected:
  Compute compute_{2};
  Loaded loaded_{compute_, random_llama({{4, 2, 48}, {6, 3, 80}, {2, 1, 33}})};

  // Logits of a prompt and of what is decoded after it, by a plan.
  std::vector<float> logits(const Plan& plan, bool as_alone = false) {
    std::vector<float> out;
    SelectorStates states;
    const auto sequence = loaded_.cache.create();
    for (size_t first = 0; first < kIds.size();) {
      const size_t n = first == 0 ? 4 : 1;
      hunch::Run run{sequence, n, first == 0 ? Phase::kPrompt : Phase::kDecode, &plan, as_alone};
      run.states = &states;
      const std::vector<uint32_t> rows = rows_up_to(n);
      append_rows(loaded_.transformer.run({std::span(kIds).subspan(first, n), {&run, 1}, rows}), out);
      first += n;
    }
    loaded_.cache.release(sequence);
    return out;
  }
};

TEST_F(MixedLayers, TakePlans) {
  const ModelConfig& c = loaded_.model.config();
  store_all_by_input(loaded_.model, compute_);
  const std::vector<float> dense = logits({});
  EXPECT_LE(worst_difference(logits({}, true), dense), 1e-5f);

  // Everything chosen, one list for each layer's own number of heads and neurons.
  Plan all;
  std::vector<std::vector<Rows>> lists;
  for (const LayerConfig& l : c.layers)
    for (const size_t n : {l.n_kv_head, l.n_ff}) {
      std::vector<uint32_t> ids(n);
      for (uint32_t i = 0; i < n; ++i) ids[i] = i;
      lists.push_back({Rows::of(ids, n)});
    }
  for (size_t l = 0; l < c.n_layer; ++l) {
    all.set(l, Point::kHeads, {std::make_shared<const Given>(lists[2 * l])});
    all.set(l, Point::kNeurons, {std::make_shared<const Given>(lists[2 * l + 1])});
  }
  EXPECT_LE(worst_difference(logits(all), dense), 1e-5f);

  // A cache that drops nothing yet, and one that drops.
  for (const char* text : {"streaming:32", "h2o:32"}) {
    Plan keys;
    keys.set_keys(c, key_policy_from(text));
    EXPECT_LE(worst_difference(logits(keys), dense), 1e-5f) << text;
  }
  Plan drops;
  drops.set_keys(c, key_policy_from("h2o:4"));
  const std::vector<float> dropped = logits(drops);
  EXPECT_TRUE(std::ranges::all_of(dropped, [](float v) { return std::isfinite(v); }));
  EXPECT_GT(worst_difference(dropped, dense), 1e-4f);
}

TEST(LayersOfFiles, MustBeAsManyAsTheModelHas) {
  Compute compute(1);
  ModelFile file = random_llama({{4, 2, 48}, {4, 2, 48}});
  file.meta.set("llama.attention.head_count_kv", MetaArray(std::vector<uint32_t>{2, 2, 2}));
  try {
    const Model model(std::move(file), {}, compute);
    ADD_FAILURE() << "three head counts for two layers";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kFormat);
    EXPECT_NE(std::string(e.what()).find("has 3 values, expected one for each of 2 layers"), std::string::npos)
        << e.what();
  }
}

}  // namespace
}  // namespace hunch
