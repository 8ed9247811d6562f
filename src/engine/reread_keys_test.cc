// KVzip in whole models: what stays is what saying the text again looks at, as passes of one's own show.
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "base/test_paths.h"
#include "engine/context.h"
#include "engine/test_texts.h"
#include "model/observer.h"
#include "model/test_steps.h"
#include "select/key_policies.h"
#include "select/reread_keys.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

// The largest weight that queries from position `first` on give to keys before it, by reference.
class LargestWeights final : public Observer {
 public:
  LargestWeights(Context& context, size_t first, const ModelConfig& config)
      : context_(context), first_(first), config_(config), largest(config.n_layer) {}
  void on_attention(size_t layer, MatView<const float> q, MatView<const float>, MatView<const float>) override {
    const LayerConfig& c = config_.layers[layer];
    const KvView view = context_.sequence().cache().view(context_.sequence().id(), layer);
    largest[layer].resize(c.n_kv_head, std::vector<float>(first_));
    std::vector<float> weights(c.n_kv_head * view.n_tokens), out(q.cols);
    AttentionParams params;
    params.scale = c.attn_scale, params.soft_cap = c.attn_soft_cap, params.alibi_slopes = c.alibi_slopes;
    for (size_t t = 0; t < q.rows; ++t)
      for (size_t h = 0; h < c.n_head; ++h) {  // one head at a time: zeros for the others would count as weights
        std::ranges::fill(weights, 0.0f);
        std::vector<float> one(q.cols);
        for (size_t other = 0; other < c.n_head; ++other)  // heads of a group say the same
          std::copy_n(q.row(t).data() + h * c.d_head, c.d_head, &one[other * c.d_head]);
        AttentionSpan span{view, 0, 1, view.n_tokens - q.rows + t};
        span.key_weights = {weights.data(), c.n_kv_head, view.n_tokens};
        std::vector<float> slopes(c.n_head, c.alibi_slopes.empty() ? 0.0f : c.alibi_slopes[h]);
        if (!c.alibi_slopes.empty()) params.alibi_slopes = slopes;
        ref::attention({one.data(), 1, q.cols}, c.n_head, {&span, 1}, params, {out.data(), 1, out.size()});
        const size_t group = c.n_head / c.n_kv_head;
        for (size_t j = 0; j < first_; ++j) {
          float& to = largest[layer][h / group][j];
          to = std::max(to, weights[h / group * view.n_tokens + j] / float(group));
        }
      }
  }

 private:
  Context& context_;
  const size_t first_;
  const ModelConfig& config_;

 public:
  std::vector<std::vector<std::vector<float>>> largest;  // [n_layer][n_kv_head][first]
};

TEST(RereadKeys, KeepsWhatSayingTheTextAgainLooksAt) {
  for (const char* model : {"tiny_llama", "tiny_bloom"}) {
    SCOPED_TRACE(model);
    const Engine engine = load_engine(golden_fixture(model), {.n_threads = 2});
    constexpr size_t n = 50, n_chunk = 24 - RereadKeys::kLeadIn;
    const std::vector<int32_t> ids = some_ids(engine, n, 2);
    ContextOptions options;
    options.n_ctx = 128;
    Context whole(engine, options);
    options.keys = key_policy_from("kvzip:20,chunk=24,sinks=2,floor=1");
    Context context(engine, options);
    context.append(ids);
    EXPECT_EQ(context.sequence().n_cached(), n) << "until the prompt ends";
    const int32_t next = 5;
    const std::span<const float> got = context.decode({&next, 1});
    EXPECT_EQ(context.sequence().n_cached(), 21u);
    EXPECT_EQ(context.n_tokens(), n + 1);
    for (const float v : got) ASSERT_TRUE(std::isfinite(v));

    whole.append(ids);
    LargestWeights recorder(whole, n, engine.config());
    whole.set_observer(&recorder);
    for (size_t first = 0; first < n; first += n_chunk) {
      const size_t begin = first - std::min(first, RereadKeys::kLeadIn);
      whole.append(std::span(ids).subspan(begin, std::min(n, first + n_chunk) - begin));
      whole.truncate(n);
    }
    for (size_t layer = 0; layer < engine.config().n_layer; ++layer) {
      const KvView view = context.sequence().cache().view(context.sequence().id(), layer);
      for (size_t head = 0; head < view.n_kv_head; ++head) {
        const std::vector<float>& votes = recorder.largest[layer][head];
        std::vector<uint32_t> want(n - 2);
        for (uint32_t j = 2; j < n; ++j) want[j - 2] = j;
        std::ranges::stable_sort(want, std::greater<>(), [&](uint32_t j) { return votes[j]; });
        // Where two are as good to rounding, either may stay.
        const float last = votes[want[17]], margin = 1e-4f;
        const std::span<const uint32_t> kept(view.positions[head].data(), 20);
        EXPECT_EQ(kept[0], 0u);
        EXPECT_EQ(kept[1], 1u);
        for (const uint32_t j : kept.subspan(2)) EXPECT_GE(votes[j], last - margin) << layer << " " << head;
      }
    }
  }
}

// The keys that are left answer one question after the other.
TEST(RereadKeys, WhatIsKeptIsReusedAcrossQuestions) {
  const Engine engine = load_engine(golden_fixture("tiny_llama"), {.n_threads = 1});
  const std::vector<int32_t> text = some_ids(engine, 60, 3),
                             questions[] = {some_ids(engine, 5, 4), some_ids(engine, 7, 5)};
  ContextOptions options;
  options.n_ctx = 128;
  options.keys = key_policy_from("kvzip:24,chunk=32");
  Context reused(engine, options);
  reused.append(text);
  reused.sequence().settle_keys(reused.batch().transformer());
  const size_t n_left = reused.sequence().n_cached();
  EXPECT_LT(n_left, 60u);
  for (const std::vector<int32_t>& question : questions) {
    Context fresh(engine, options);
    fresh.append(text);
    std::vector<float> got, want;
    for (const int32_t id : question) {
      const std::span<const float> a = reused.decode({&id, 1});
      got.assign(a.begin(), a.end());
      const std::span<const float> b = fresh.decode({&id, 1});
      want.assign(b.begin(), b.end());
    }
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5);
    reused.truncate(text.size());
    EXPECT_EQ(reused.sequence().n_cached(), n_left);
  }
}

TEST(RereadKeys, WhereThereIsNoRoomIsSaid) {
  const Engine engine = load_engine(golden_fixture("tiny_llama"), {.n_threads = 1});
  ContextOptions options;
  options.n_ctx = 64;
  options.keys = key_policy_from("kvzip:24");
  Context context(engine, options);
  const std::vector<int32_t> text = some_ids(engine, 60, 3);
  context.append(text);
  const int32_t id = 1;
  try {
    context.decode({&id, 1});
    FAIL() << "60 of 64 tokens are used";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kLimit);
    EXPECT_NE(std::string(e.what()).find("once more behind itself"), std::string::npos) << e.what();
  }
  const Engine recurrent = load_engine(golden_fixture("tiny_qwen3next"), {.n_threads = 1});
  options.n_ctx = 128;
  Context other(recurrent, options);
  other.append(some_ids(recurrent, 60, 3));
  EXPECT_THROW(other.decode({&id, 1}), Error);
}

}  // namespace
}  // namespace hunch
