#include "select/tova.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "io/golden_arrays.h"

namespace hunch {
namespace {

using Ids = std::vector<uint32_t>;

// A layer's cache of f32, one page, and what attention to it gives.
class Cache {
 public:
  explicit Cache(const GoldenArrays& golden, const std::string& name)
      : q_(golden.get<float>(name + ".q")), k_(golden.get<float>(name + ".k")), v_(golden.get<float>(name + ".v")) {}

  // Tokens [first, first + n) are appended and attend. Returns what the last one's heads gave, [n_head, d].
  std::vector<float> attend(size_t first, size_t n, KeyState& state) {
    for (size_t t = first; t < first + n; ++t) tokens_.push_back(uint32_t(t));
    const size_t n_slots = tokens_.size(), n_head = q_.shape[0], n_kv = k_.shape[0], d = q_.shape[2];
    std::vector<float> page;
    for (const auto* rows : {&k_, &v_})
      for (size_t head = 0; head < n_kv; ++head)
        for (const uint32_t token : tokens_)
          page.insert(page.end(), rows->row(head, token).begin(), rows->row(head, token).end());
    const std::byte* pages[] = {reinterpret_cast<const std::byte*>(page.data())};
    positions_.assign(n_kv, tokens_);
    const KvView view{pages, n_slots, n_kv, d, DType::kF32, page.size() / 2 * sizeof(float), first + n, positions_};
    std::vector<float> queries, out(n * n_head * d), weights(n_kv * n_slots);
    for (size_t t = first; t < first + n; ++t)
      for (size_t head = 0; head < n_head; ++head)
        queries.insert(queries.end(), q_.row(head, t).begin(), q_.row(head, t).end());
    AttentionSpan span{view, 0, n, first};
    span.key_weights = {weights.data(), n_kv, n_slots};
    span.n_weighing = state.n_watched();
    AttentionParams params;
    params.scale = 1 / std::sqrt(float(d));
    Compute compute(1);
    const MatView<float> heads(out.data(), n, n_head * d);
    attention(compute, {queries.data(), n, n_head * d}, n_head, {&span, 1}, params, heads);
    state.observe({0, 1, view}, span.key_weights, heads);
    std::vector<Rows> kept(n_kv);
    state.keep({0, 1, view}, kept);
    for (const Rows& rows : kept) EXPECT_TRUE(std::ranges::equal(rows.ids(), kept[0].ids())) << "heads differ";
    if (!kept[0].is_all()) {
      Ids left;
      for (const uint32_t slot : kept[0].ids()) left.push_back(tokens_[slot]);
      tokens_ = std::move(left);
    }
    return {out.end() - ptrdiff_t(n_head * d), out.end()};
  }
  const Ids& tokens() const { return tokens_; }

 private:
  const GoldenArray<float> q_, k_, v_;
  Ids tokens_;
  std::vector<Ids> positions_;
};

TEST(Tova, KeepsWhatThePublishedCodeKeeps) {
  const auto path = shared_path("golden/algos2/tova.json");
  if (!path) GTEST_SKIP() << "needs golden/algos2";
  const GoldenArrays golden(path->parent_path() / "tova");
  for (const auto& [name, settings] : golden.configs().items()) {
    SCOPED_TRACE(name);
    const Tova tova(settings["cache_size"]);
    const auto state = tova.new_state();
    Cache cache(golden, name);
    const size_t n_prompt = settings["prompt"];
    const auto kept = golden.get<int>(name + ".kept");
    for (size_t step = 0; step < kept.shape[0]; ++step) {
      const std::vector<float> heads = step ? cache.attend(n_prompt + step - 1, 1, static_cast<KeyState&>(*state))
                                            : cache.attend(0, n_prompt, static_cast<KeyState&>(*state));
      Ids want;
      for (const int token : kept.row(step))
        if (token >= 0) want.push_back(uint32_t(token));
      ASSERT_EQ(cache.tokens(), want) << step;
      if (step == 0) continue;
      const auto out = golden.get<float>(name + ".out");
      for (size_t i = 0; i < heads.size(); ++i) EXPECT_NEAR(heads[i], out.row(step - 1)[i], 1e-5) << step;
    }
  }
}

TEST(Tova, TheNewestTokenHasNoProtection) {
  const Tova tova(2);
  EXPECT_EQ(tova.most_slots(), 2u);
  const auto selector_state = tova.new_state();
  KeyState& state = static_cast<KeyState&>(*selector_state);
  KvView view;
  view.n_kv_head = 2;
  view.n_tokens = 4;
  const std::vector<float> weights = {0.4f, 0.1f, 0.3f, 0.2f, 0.0f, 0.6f, 0.3f, 0.1f};
  std::vector<Rows> kept(2);
  state.observe({0, 1, view}, {weights.data(), 2, 4}, {});
  state.keep({0, 1, view}, kept);
  for (const Rows& rows : kept) EXPECT_TRUE(std::ranges::equal(rows.ids(), Ids{1, 2}));
  state.truncate(3);
  view.n_tokens = 3;
  state.keep({0, 1, view}, kept);
  EXPECT_TRUE(kept[0].is_all()) << "nobody looked at these";
}

}  // namespace
}  // namespace hunch
