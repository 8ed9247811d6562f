#include "synth/plant.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "io/gguf.h"
#include "model/transformer.h"
#include "synth/profile.h"
#include "synth/sidecar.h"
#include "synth/text.h"
#include "synth/vocab.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

SynthOptions planted(const char* shape, std::vector<double> density = {0.05, 0.1, 0.2}) {
  SynthOptions o;
  o.shape = synth_shape(shape);
  o.shape.n_layer = density.size();
  o.shape.n_embd = 256;
  o.shape.n_ff = 1024;
  o.shape.n_head = o.shape.n_kv_head = 16;
  o.shape.n_vocab = 1500;
  o.shape.n_ctx = 256;
  o.dtype = DType::kF32;
  o.planting.density = std::move(density);
  o.planting.head_density = 0.42;
  o.planting.n_contexts = 16;
  return o;
}

// Per token, the share of heads whose output is at least a third of the largest.
class LoudHeads : public Observer {
 public:
  explicit LoudHeads(size_t d_head) : d_head_(d_head) {}
  void on_heads(size_t, MatView<const float> out) override {
    for (size_t t = 0; t < out.rows; ++t) {
      std::vector<float> norm;
      for (size_t i = 0; i < out.cols; i += d_head_) {
        const std::span<const float> head = out.row(t).subspan(i, d_head_);
        norm.push_back(std::sqrt(dot(head, head)));
      }
      const float bar = std::ranges::max(norm) / 3;
      n_loud += size_t(std::ranges::count_if(norm, [&](float n) { return n > bar; }));
      n_heads += norm.size();
    }
  }
  size_t n_loud = 0, n_heads = 0;

 private:
  size_t d_head_;
};

struct Measured {
  std::vector<double> density;
  double heads = 0, in_context = 0, successor = 0;
};

Measured measure(const SynthOptions& options, const char* file) {
  const fs::path path = fs::path(testing::TempDir()) / file;
  Compute compute(2);
  write_synth(path, options, compute);
  const Model model(open_gguf(path), {}, compute);
  fs::remove(path);
  KvCache cache(Transformer::kv_shape(model.config()), 256);
  Transformer transformer(model, cache, compute);
  LoudHeads heads(options.shape.d_head());
  transformer.observer = &heads;
  const SynthTokens tokens(options.planting.n_contexts, options.shape.n_vocab, options.seed);
  Measured m;
  size_t n_rows = 0;
  constexpr size_t kTokens = 120;
  for (uint64_t text = 0; text < 4; ++text) {
    std::vector<int32_t> ids = synth_text_ids(options, kTokens, text);
    std::vector<uint32_t> rows(kTokens);
    std::iota(rows.begin(), rows.end(), 0u);
    const hunch::Run run{cache.create(), kTokens};
    const MatView<const float> logits = transformer.run({ids, {&run, 1}, rows});
    for (size_t t = 0; t < kTokens; ++t, ++n_rows) {
      const size_t best = argmax(logits.row(t));
      m.in_context += tokens.is_word(best) && tokens.context_of(best) == tokens.context_of(size_t(ids[t]));
      m.successor += best == tokens.successor(size_t(ids[t]));
    }
    cache.release(run.sequence);
  }
  for (size_t layer = 0; layer < options.shape.n_layer; ++layer)
    m.density.push_back(double(transformer.stats.active_neurons[layer]) / double(transformer.stats.all_neurons[layer]));
  m.heads = double(heads.n_loud) / double(heads.n_heads);
  m.in_context /= double(n_rows);
  m.successor /= double(n_rows);
  return m;
}

void expect_as_planted(const SynthOptions& options, const char* file) {
  const Measured m = measure(options, file);
  for (size_t layer = 0; layer < m.density.size(); ++layer)
    EXPECT_NEAR(m.density[layer], options.planting.density[layer], 0.1 * options.planting.density[layer])
        << file << " layer " << layer;
  EXPECT_NEAR(m.heads, options.planting.head_density, 0.15 * options.planting.head_density) << file;
  EXPECT_GT(m.in_context, 0.99) << file;
  EXPECT_GT(m.successor, 0.8) << file;
}

TEST(SynthPlant, OptHasTheAskedDensitiesAndContinuesInContext) { expect_as_planted(planted("opt-125m"), "plant_opt"); }

TEST(SynthPlant, RegluHasTheAskedDensitiesAndContinuesInContext) {
  expect_as_planted(planted("reglu-3b"), "plant_reglu");
}

TEST(SynthPlant, FourBitsKeepThePlantedDensities) {
  SynthOptions o = planted("reglu-3b");
  o.dtype = DType::kQ4_0;
  expect_as_planted(o, "plant_q4_0");
}

TEST(SynthPlant, DenserModelsHaveDenserLayersAndMoreHeads) {
  SynthOptions o = planted("opt-125m", {0.6});
  o.planting.head_density = 0.8;
  expect_as_planted(o, "plant_dense");
}

// What the planted predictors choose, beside what is really active.
TEST(SynthPlant, TheSidecarsPredictorsFindTheActiveNeurons) {
  for (const char* shape : {"opt-125m", "reglu-3b"}) {
    const SynthOptions o = planted(shape);
    const fs::path path = fs::path(testing::TempDir()) / (std::string("plant_sidecar_") + shape);
    Compute compute(2);
    write_synth(path, o, compute);
    const ModelFile file = open_gguf(path);
    const fs::path beside = sidecar_path(path);
    write_sidecar(beside, synth_sidecar(o, file));
    const Sidecar sidecar = open_sidecar(beside);
    const Model model(open_gguf(path), {}, compute);
    check_sidecar(sidecar, file, model.config());
    fs::remove(path), fs::remove(beside);
    const Plan plan = sidecar.plan(model.config());

    struct Chosen : Observer {
      void on_mlp(const MlpPlace& place, MatView<const float> in, MatView<const float> act) override {
        rows.resize(act.rows);
        plan->at(place.layer, Point::kNeurons).selector->choose(*compute, {in}, rows);
        for (size_t t = 0; t < act.rows; ++t)
          for (size_t k = 0; k < act.cols; ++k) {
            const bool chosen = rows[t].is_all() || std::ranges::binary_search(rows[t].ids(), uint32_t(k)),
                       active = act.row(t)[k] != 0;
            n_chosen += chosen, n_active += active, n_both += chosen && active;
            ++n;
          }
      }
      const Plan* plan = nullptr;
      Compute* compute = nullptr;
      std::vector<Rows> rows;
      double n_chosen = 0, n_active = 0, n_both = 0, n = 0;
    } chosen;
    chosen.plan = &plan, chosen.compute = &compute;
    KvCache cache(Transformer::kv_shape(model.config()), 256);
    Transformer transformer(model, cache, compute);
    transformer.observer = &chosen;
    const std::vector<int32_t> ids = synth_text_ids(o, 200, 3);
    const hunch::Run run{cache.create(), ids.size()};
    transformer.run({ids, {&run, 1}, {}});
    EXPECT_GT(chosen.n_both / chosen.n_active, 0.9) << shape;  // recall
    EXPECT_LT(chosen.n_chosen / chosen.n_active, 1.3) << shape;
    for (size_t l = 0; l < 3; ++l)
      EXPECT_NEAR(sidecar.layers[l].curve[0].density, o.planting.density[l], 0.2 * o.planting.density[l]);
  }
  SynthOptions plain = planted("opt-125m");
  plain.planting.density.clear();
  EXPECT_THROW(synth_sidecar(plain, {}), Error);
  EXPECT_THROW(synth_sidecar(planted("llama-3b"), {}), Error);
}

TEST(SynthPlant, AMarginOfMinusThreeMakesTheSuccessorOneOfMany) {
  SynthOptions o = planted("opt-125m");
  o.planting.next_token_margin = -3;
  const Measured m = measure(o, "plant_margin");
  EXPECT_LT(m.successor, 0.2);
  EXPECT_GT(m.in_context, 0.99);
}

TEST(SynthPlant, RefusesWhatTheShapeHasNoRoomFor) {
  const auto refuses = [&](auto change, const char* what) {
    SynthOptions o = planted("opt-125m");
    change(o);
    Compute compute(1);
    const fs::path path = fs::path(testing::TempDir()) / "plant_refused";
    try {
      write_synth(path, o, compute);
      ADD_FAILURE() << what;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage) << what;
      EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
    }
    EXPECT_FALSE(fs::exists(path));
  };
  refuses([](SynthOptions& o) { o.planting.density[1] = 1e-4; }, "density of 0.0001");
  refuses([](SynthOptions& o) { o.planting.density[1] = 0.99; }, "density of 0.99");
  refuses([](SynthOptions& o) { o.planting.density[1] = NAN; }, "density of nan");
  refuses([](SynthOptions& o) { o.planting.density.pop_back(); }, "2 densities for 3 layers");
  refuses([](SynthOptions& o) { o.planting.head_density = 0; }, "head density");
  refuses([](SynthOptions& o) { o.planting.n_contexts = 200; }, "200 contexts");
  refuses([](SynthOptions& o) { o.shape.n_vocab = kMinSynthVocab - 1; }, "n_vocab");
  refuses([](SynthOptions& o) { o.shape.n_vocab = kFirstSynthWord + 63; }, "n_vocab");
  refuses([](SynthOptions& o) { o.planting.next_token_margin = NAN; }, "margin");
  refuses([](SynthOptions& o) { o.planting.next_token_margin = 100; }, "margin");
}

TEST(SynthSets, KeepTheirSumServeContextsEquallyAndAreSkewed) {
  SynthNoise noise(1, "sets", 0);
  constexpr size_t kMembers = 2000, kContexts = 32;
  const std::vector<double> shares = skewed_shares(
      kMembers, 0.8, 0.1, [](double share) { return share; }, noise);
  EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0) / kMembers, 0.1, 1e-6);
  const ContextSets sets = deal_contexts(shares, kContexts, noise);
  std::vector<size_t> load(kContexts, 0);
  std::vector<size_t> sizes;
  for (size_t i = 0; i < kMembers; ++i) {
    sizes.push_back(sets.of(i).size());
    EXPECT_NEAR(double(sizes.back()), shares[i] * kContexts, 1.0);
    for (size_t k = 0; k < sets.of(i).size(); ++k) {
      ++load[sets.of(i)[k]];
      EXPECT_TRUE(k == 0 || sets.of(i)[k - 1] < sets.of(i)[k]);
    }
  }
  EXPECT_NEAR(double(std::accumulate(sizes.begin(), sizes.end(), size_t{0})), 0.1 * kMembers * kContexts, 1.0);
  EXPECT_LE(std::ranges::max(load) - std::ranges::min(load), 6u);
  std::ranges::sort(sizes, std::greater<>());
  const double hot = double(std::accumulate(sizes.begin(), sizes.begin() + kMembers / 4, size_t{0}));
  EXPECT_GT(hot, 0.6 * 0.1 * kMembers * kContexts);
}

TEST(SynthProfile, StretchesOptsCurveAndScalesIt) {
  const std::vector<double> own = opt_density_profile(32);
  EXPECT_NEAR(own[0], 896.0 / 16384, 1e-9);
  EXPECT_NEAR(own[30], 3712.0 / 16384, 1e-9);
  const std::vector<double> half = opt_density_profile(16, 0.05);
  EXPECT_NEAR(std::accumulate(half.begin(), half.end(), 0.0) / 16, 0.05, 1e-9);
  EXPECT_LT(half[3], half[15] / 5);
  EXPECT_THROW(opt_density_profile(12, 0.8), Error);
}

TEST(SynthText, IsReproducibleStaysInContextAndIsTokenizedWordByWord) {
  const SynthOptions o = planted("opt-125m");
  const std::vector<int32_t> ids = synth_text_ids(o, 1000, 7);
  EXPECT_EQ(ids, synth_text_ids(o, 1000, 7));
  EXPECT_NE(ids, synth_text_ids(o, 1000, 8));
  ASSERT_EQ(ids.size(), 1000u);
  EncodeOptions plain;
  plain.add_special = false;
  EXPECT_EQ(Tokenizer(synth_tokenizer(o.shape.n_vocab)).encode(synth_text(ids), plain), ids);
  const SynthTokens tokens(o.planting.n_contexts, o.shape.n_vocab, o.seed);
  size_t n_changes = 0;
  for (size_t i = 1; i < ids.size(); ++i)
    n_changes += tokens.context_of(size_t(ids[i])) != tokens.context_of(size_t(ids[i - 1]));
  EXPECT_LE(n_changes, 1000u / 64);
}

}  // namespace
}  // namespace hunch
