// Selectors of cached tokens in whole passes: what stays, where it stands, and what the next token sees of it.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "model/open_model.h"
#include "model/test_steps.h"
#include "select/key_policies.h"

namespace hunch {
namespace {

ModelFile with_layers(ModelFile file, size_t n_layer) {
  if (n_layer) file.meta.set(file.meta.get_string("general.architecture") + ".block_count", uint64_t{n_layer});
  return file;
}

class Keys {
 public:
  // The fixture, cut to n_layer layers (0: all).
  explicit Keys(const char* fixture, size_t n_layer = 0)
      : model(with_layers(open_model(golden_fixture(fixture)).file, n_layer), {}, compute) {
    for (size_t i = 0; i < 24; ++i) ids.push_back(int32_t((i * 37 + 11) % c.n_vocab));
  }

  Plan plan(const char* policy) const {
    Plan plan = Plan::exact(c);
    if (policy) plan.set_keys(c, key_policy_from(policy));
    return plan;
  }
  // Logits after the last id: the first n_prompt together, the others one by one.
  std::vector<float> run(const Plan& plan, std::span<const int32_t> text, size_t n_prompt,
                         Observer* observer = nullptr) {
    cache = KvCache(Transformer::kv_shape(c, DType::kF32, 8), 512);
    const auto sequence = cache.create();
    Transformer transformer(model, cache, compute);
    transformer.observer = observer;
    SelectorStates states;
    std::vector<float> last;
    for (size_t begin = 0; begin < text.size();) {
      const size_t n = begin == 0 ? n_prompt : 1;
      Run run{sequence, n, begin == 0 ? Phase::kPrompt : Phase::kDecode, &plan};
      run.states = &states;
      const uint32_t row = uint32_t(n - 1);
      last.clear();
      append_rows(transformer.run({text.subspan(begin, n), {&run, 1}, {&row, 1}}), last);
      begin += n;
      if (observer) break;
    }
    stats = transformer.stats;
    return last;
  }
  std::vector<uint32_t> positions(size_t layer, size_t head) const {
    const KvView view = cache.view(0, layer);
    std::vector<uint32_t> out;
    for (size_t slot = 0; slot < view.n_slots(head); ++slot) out.push_back(uint32_t(view.position(head, slot)));
    return out;
  }

  Compute compute{1};
  Model model;
  const ModelConfig& c = model.config();
  KvCache cache{{{{1, 1}}}, 1};
  StepStats stats;
  std::vector<int32_t> ids;
};

TEST(Keys, ABudgetAboveTheTextChangesNothing) {
  Keys keys("tiny_llama");
  const std::vector<float> want = keys.run(keys.plan(nullptr), keys.ids, 10);
  for (const char* policy : {"streaming:64", "h2o:64", "spatten:64"})
    EXPECT_EQ(worst_difference(keys.run(keys.plan(policy), keys.ids, 10), want), 0) << policy;
}

// Where there is one layer, keys know nothing of the text before them: the sinks and the window are a text of their
// own, and that is what the last token must see, RoPE's and ALiBi's distances included.
TEST(Keys, StreamingIsATextOfSinksAndWindow) {
  for (const char* fixture : {"tiny_llama", "tiny_bloom"}) {
    SCOPED_TRACE(fixture);
    Keys keys(fixture, 1);
    const std::span<const int32_t> ids = keys.ids;
    std::vector<int32_t> kept(ids.begin(), ids.begin() + 3);
    kept.insert(kept.end(), ids.end() - 6, ids.end());  // 5 of the window of 8, and the token itself
    for (size_t n_prompt : {1u, 12u, 23u}) {
      const std::vector<float> got = keys.run(keys.plan("streaming:8,sinks=3"), ids, n_prompt);
      EXPECT_LT(worst_difference(got, keys.run(keys.plan(nullptr), kept, 1)), 2e-5) << n_prompt;
      EXPECT_GT(worst_difference(got, keys.run(keys.plan(nullptr), ids, 1)), 1e-3) << "nothing was dropped";
    }
  }
}

TEST(Keys, SinksMoveAlongWithTheWindow) {
  Keys keys("tiny_llama");
  keys.run(keys.plan("streaming:8,sinks=3"), keys.ids, 12);
  for (size_t layer = 0; layer < keys.c.n_layer; ++layer)
    EXPECT_EQ(keys.positions(layer, 0), (std::vector<uint32_t>{16, 17, 18, 19, 20, 21, 22, 23}));
}

// Sums the weights of layer 0 from its queries and keys.
struct ColumnSums : Observer {
  const ModelConfig& c;
  std::vector<std::vector<double>> sums;  // [n_kv_head][n_tokens]
  explicit ColumnSums(const ModelConfig& c) : c(c) {}
  void on_attention(size_t layer, MatView<const float> q, MatView<const float> k, MatView<const float>) override {
    if (layer != 0) return;
    sums.assign(c.n_kv_head, std::vector<double>(q.rows));
    for (size_t head = 0; head < c.n_head; ++head) {
      const size_t kv = head / (c.n_head / c.n_kv_head);
      for (size_t t = 0; t < q.rows; ++t) {
        std::vector<double> weight(t + 1);
        for (size_t j = 0; j <= t; ++j)
          for (size_t i = 0; i < c.d_head; ++i)
            weight[j] += double(q.row(t)[head * c.d_head + i]) * double(k.row(j)[kv * c.d_head + i]) * c.attn_scale;
        double total = 0;
        for (double& w : weight) total += w = std::exp(w);
        for (size_t j = 0; j <= t; ++j) sums[kv][j] += weight[j] / total;
      }
    }
  }
};

TEST(Keys, HeavyHittersAreThoseThatThePromptsQueriesLookedAt) {
  Keys keys("tiny_llama");
  ColumnSums watcher(keys.c);
  keys.run(keys.plan("h2o:8,recent=0.5"), keys.ids, keys.ids.size(), &watcher);
  for (size_t head = 0; head < keys.c.n_kv_head; ++head) {
    std::vector<uint32_t> older(20);
    std::iota(older.begin(), older.end(), 0u);
    std::ranges::sort(older, std::greater<>(), [&](uint32_t t) { return watcher.sums[head][t]; });
    std::vector<uint32_t> want(older.begin(), older.begin() + 4);
    std::ranges::sort(want);
    want.insert(want.end(), {20, 21, 22, 23});
    EXPECT_EQ(keys.positions(0, head), want) << head;
  }
}

TEST(Keys, HeavyHittersBoundEveryHeadsCacheInEveryPass) {
  Keys keys("tiny_llama");
  const std::vector<float> logits = keys.run(keys.plan("h2o:8"), keys.ids, 12);
  EXPECT_LT(worst_difference(logits, logits), 1) << "finite";
  for (size_t layer = 0; layer < keys.c.n_layer; ++layer)
    for (size_t head = 0; head < keys.c.n_kv_head; ++head) EXPECT_EQ(keys.positions(layer, head).size(), 8u);
}

TEST(Keys, SpattenDropsMoreFromLayerToLayerAndHeadsToo) {
  Keys keys("tiny_llama");
  keys.run(keys.plan("spatten:8,heads=0.5"), keys.ids, 12);
  std::vector<uint32_t> above = keys.positions(0, 0);
  EXPECT_EQ(above.size(), 12u) << "3/2 of the budget";
  for (size_t layer = 1; layer < keys.c.n_layer; ++layer) {
    const std::vector<uint32_t> here = keys.positions(layer, 0);
    EXPECT_TRUE(std::ranges::includes(above, here)) << layer;
    above = here;
  }
  EXPECT_EQ(above.size(), 4u) << "1/2 of it";
  EXPECT_LT(keys.stats.active_heads.back(), keys.stats.all_heads.back());
  EXPECT_EQ(keys.stats.active_heads[0], keys.stats.all_heads[0]);
}

// Of one query head for each key head: half of the keys, in decoding.
TEST(Keys, SpattenReadsTheValuesOfTheLargestWeightsOnly) {
  Keys keys("llama_mha");
  const std::vector<float> all = keys.run(keys.plan("spatten:64"), keys.ids, 12);
  const uint64_t all_bytes = keys.stats.kv_bytes;
  const std::vector<float> half = keys.run(keys.plan("spatten:64,values=0.5"), keys.ids, 12);
  size_t n_spared = 0;
  for (size_t n_keys = 13; n_keys <= keys.ids.size(); ++n_keys) n_spared += n_keys / 2;
  EXPECT_EQ(all_bytes - keys.stats.kv_bytes,
            n_spared * keys.c.n_layer * keys.c.n_kv_head * keys.c.d_head * sizeof(float));
  EXPECT_GT(worst_difference(half, all), 1e-3);
  EXPECT_LT(worst_difference(half, all), 1) << "small weights are left out";
}

// Leaves out the first head.
class AllButTheFirst final : public Selector {
 public:
  void choose(Compute&, const Evidence& evidence, std::span<Rows> out) const override {
    for (Rows& rows : out) {
      std::vector<uint32_t>& heads = rows.refill(evidence.n_rows);
      for (uint32_t head = 1; head < evidence.n_rows; ++head) heads.push_back(head);
    }
  }
  std::string_view kind() const override { return "all but the first"; }
};

TEST(Keys, HeadsAreThoseThatBothThePlanAndThePolicyKeep) {
  for (const Look look : {Look::kHere, Look::kPreviousAttention}) {
    Keys keys("opt_350m_style");
    const size_t last = keys.c.n_layer - 1;
    Plan own = keys.plan(nullptr);
    for (size_t l = 0; l <= last; ++l)
      own.set(l, Point::kHeads, {std::make_shared<AllButTheFirst>(), l ? look : Look::kHere});
    Plan both = own;
    both.set_keys(keys.c, key_policy_from("spatten:8,heads=0.25"));
    const auto n_decoded = [&](const Plan& plan, size_t layer) {  // heads, by the 12 tokens after the prompt
      keys.run(plan, keys.ids, 12);
      return keys.stats.active_heads[layer] - 12 * keys.c.n_head;
    };
    EXPECT_EQ(n_decoded(both, 0), n_decoded(own, 0));
    EXPECT_LT(n_decoded(both, last), n_decoded(own, last)) << "the policy's heads were forgotten";
    if (look == Look::kHere) {  // else they are those of the layer before
      EXPECT_LE(n_decoded(both, last), 12 * 1u);
    }
  }
}

// What follows a cut is as if all had been read together.
TEST(Keys, APromptThatGoesOnDropsNothingUntilItEnds) {
  for (const char* policy : {"streaming:8,sinks=3", "h2o:8", "spatten:8"}) {
    SCOPED_TRACE(policy);
    Keys keys("tiny_llama");
    const Plan plan = keys.plan(policy);
    const std::vector<float> want = keys.run(plan, keys.ids, 20);
    const std::vector<uint32_t> want_left = keys.positions(0, 0);
    keys.cache = KvCache(Transformer::kv_shape(keys.c, DType::kF32, 8), 512);
    Transformer transformer(keys.model, keys.cache, keys.compute);
    SelectorStates states;
    const auto sequence = keys.cache.create();
    std::vector<float> last;
    for (size_t begin = 0, n = 12; begin < keys.ids.size(); begin += n, n = begin < 20 ? 8 : 1) {
      hunch::Run run{sequence, n, begin < 20 ? Phase::kPrompt : Phase::kDecode, &plan};
      run.states = &states;
      run.goes_on = begin == 0;
      const uint32_t row = uint32_t(n - 1);
      last.clear();
      append_rows(transformer.run({std::span(keys.ids).subspan(begin, n), {&run, 1}, {&row, 1}}), last);
      if (run.goes_on) {
        EXPECT_EQ(keys.positions(0, 0).size(), 12u);
      }
    }
    EXPECT_LT(worst_difference(last, want), 2e-5);
    EXPECT_EQ(keys.positions(0, 0), want_left);
  }
}

}  // namespace
}  // namespace hunch
