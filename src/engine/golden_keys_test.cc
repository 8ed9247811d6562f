// Whole models whose caches forget, against the logits of the published codes.
#include <gtest/gtest.h>

#include "engine/context.h"
#include "io/golden_arrays.h"
#include "select/heavy_hitters.h"
#include "select/key_policies.h"
#include "select/per_head_keys.h"

namespace hunch {
namespace {

using Ids = std::vector<uint32_t>;

// The model of a golden run and a context whose cache keeps what `keys` says; false where they are not there.
class GoldenRun {
 public:
  explicit GoldenRun(const std::string& name) : path_(shared_path("golden/algos/" + name + ".json")) {
    if (!path_) return;
    golden_.emplace(path_->parent_path() / name);
    model_ = shared_path("golden/models/" + golden_->settings()["model"].get<std::string>());
    if (model_) engine_.emplace(load_engine(*model_, {.n_threads = 1}));
  }
  explicit operator bool() const { return engine_.has_value(); }
  const GoldenArrays& golden() const { return *golden_; }
  std::vector<int32_t> ids(const char* name) const { return golden_->get<int32_t>(name).values; }

  Context context(std::shared_ptr<const KeySelector> keys) const {
    ContextOptions options;
    options.n_ctx = 96;
    options.keys = std::move(keys);
    return Context(*engine_, options);
  }

 private:
  std::optional<std::filesystem::path> path_, model_;
  std::optional<GoldenArrays> golden_;
  std::optional<Engine> engine_;
};

void expect_logits(std::span<const float> got, std::span<const float> want) {
  ASSERT_EQ(got.size(), want.size());
  float worst = 0;
  for (size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::abs(got[i] - want[i]));
  EXPECT_LT(worst, 1e-4);
}

Ids positions(Context& context, size_t layer, size_t head) {
  const KvView view = context.batch().cache()->view(context.sequence().id(), layer);
  Ids out;
  for (size_t slot = 0; slot < view.n_slots(head); ++slot) out.push_back(uint32_t(view.position(head, slot)));
  std::ranges::sort(out);
  return out;
}

class GoldenKeys : public ::testing::Test {
 protected:
  // Reads the prompt, then the published tokens one by one. with(step, context): after each of them, and the logits.
  template <class With>
  void follow(const GoldenRun& run, Context& context, const With& with) {
    const std::vector<int32_t> prompt = run.ids("prompt"), tokens = run.ids("tokens");
    const auto logits = run.golden().get<float>("step_logits");
    for (size_t step = 0; step < logits.shape[0]; ++step) {
      SCOPED_TRACE(step);
      expect_logits(step ? context.decode(std::span(tokens).subspan(step - 1, 1)) : context.append(prompt),
                    logits.row(step));
      context.sequence().settle_keys(context.batch().transformer());  // of the prompt
      with(step);
      if (HasFailure()) return;
    }
  }
};

// Token after token, the prompt's too.
TEST_F(GoldenKeys, StreamingLlmIsThePublishedCode) {
  for (const char* name : {"streaming_llama", "streaming_llama_mha", "streaming_gpt_neox_parallel"}) {
    SCOPED_TRACE(name);
    const GoldenRun run(name);
    if (!run) GTEST_SKIP() << "needs golden/algos and golden/models";
    const nlohmann::json& settings = run.golden().settings();
    const size_t n_sinks = settings["start_size"], budget = n_sinks + settings["recent_size"].get<size_t>();
    Context context = run.context(key_policy_from(fmt::format("streaming:{},sinks={}", budget, n_sinks)));
    std::vector<int32_t> ids = run.ids("prompt");
    const std::vector<int32_t> tokens = run.ids("tokens");
    ids.insert(ids.end(), tokens.begin(), tokens.end());
    const auto logits = run.golden().get<float>("logits");
    for (size_t i = 0; i < ids.size(); ++i) {
      SCOPED_TRACE(i);
      expect_logits(context.decode(std::span(ids).subspan(i, 1)), logits.row(i));
      EXPECT_EQ(context.sequence().n_cached(), std::min(i + 1, budget));
      if (HasFailure()) return;
    }
  }
}

// utils_real_drop, each key at the position of its token. With position_rolling it counts positions by slot, which here
// only who streams does (docs/key-policies.md).
TEST_F(GoldenKeys, HeavyHittersAreThePublishedCodeThatDrops) {
  const GoldenRun run("h2o_realdrop_llama_mha");
  if (!run) GTEST_SKIP() << "needs golden/algos and golden/models";
  const size_t n_recent = run.golden().settings()["recent_size"], n_heavy = run.golden().settings()["hh_size"];
  Context context =
      run.context(std::make_shared<PerHeadKeys>("h2o", std::make_unique<HeavyHitters>(n_recent), n_heavy + n_recent));
  const auto kept = run.golden().get<int>("kept");
  follow(run, context, [&](size_t step) {
    for (size_t layer = 0; layer < kept.shape[1]; ++layer)
      for (size_t head = 0; head < kept.shape[2]; ++head) {
        const std::span<const int> want = kept.row(step, layer, head);
        EXPECT_EQ(positions(context, layer, head), Ids(want.begin(), want.end())) << layer << " " << head;
      }
  });
}

// Heavy hitters of which the next query does not see the oldest recent slot: what utils_hh masks.
class MaskedHeavyHitters final : public KeySelector {
 public:
  MaskedHeavyHitters(size_t n_heavy, size_t n_recent)
      : n_recent_(n_recent), dropping_("h2o", std::make_unique<HeavyHitters>(n_recent), n_heavy + n_recent) {}
  std::string_view kind() const override { return "masked"; }
  size_t most_slots() const override { return dropping_.most_slots(); }
  std::unique_ptr<SelectorState> new_state() const override { return std::make_unique<State>(*this); }

 private:
  class State final : public KeyState {
   public:
    explicit State(const MaskedHeavyHitters& all) : all_(all), own_(all.dropping_.new_state()) {}
    std::span<const Rows> readable(const KeyPlace& place) override {
      readable_.resize(place.view.n_kv_head);
      for (size_t head = 0; head < readable_.size(); ++head) {
        const size_t n_slots = place.view.n_slots(head), hidden = n_slots - 1 - all_.n_recent_;
        std::vector<uint32_t>& slots = readable_[head].refill(n_slots);
        for (uint32_t slot = 0; slot < n_slots; ++slot)
          if (slot != hidden) slots.push_back(slot);
      }
      return readable_;
    }
    bool learns() const override { return true; }
    void observe(const KeyPlace& place, MatView<const float> weights, MatView<const float> heads) override {
      own().observe(place, weights, heads);
    }
    void keep(const KeyPlace& place, std::span<Rows> out) override { own().keep(place, out); }
    void truncate(size_t n_tokens) override { own_->truncate(n_tokens); }

   private:
    KeyState& own() { return static_cast<KeyState&>(*own_); }
    const MaskedHeavyHitters& all_;
    const std::unique_ptr<SelectorState> own_;
    std::vector<Rows> readable_;
  };
  size_t n_recent_;
  PerHeadKeys dropping_;
};

TEST_F(GoldenKeys, HeavyHittersAreThePublishedCodeThatMasks) {
  for (const char* name : {"h2o_mask_llama_mha", "h2o_mask_opt", "h2o_mask_opt_sparse"}) {
    SCOPED_TRACE(name);
    const GoldenRun run(name);
    if (!run) GTEST_SKIP() << "needs golden/algos and golden/models";
    const size_t n_heavy = run.golden().settings()["heavy_budget"], n_recent = run.golden().settings()["recent_budget"];
    Context context = run.context(std::make_shared<MaskedHeavyHitters>(n_heavy, n_recent));
    const auto visible = run.golden().get<int>("mask_next");
    follow(run, context, [&](size_t step) {
      const size_t n_tokens = context.n_tokens();
      for (size_t layer = 0; layer < visible.shape[1]; ++layer)
        for (size_t head = 0; head < visible.shape[2]; ++head) {
          Ids want = {uint32_t(n_tokens - n_recent)};  // hidden for one step, not dropped
          for (uint32_t token = 0; token < n_tokens; ++token)
            if (visible.row(step, layer, head)[token] == 1) want.push_back(token);
          std::ranges::sort(want);
          EXPECT_EQ(positions(context, layer, head), want) << layer << " " << head;
        }
    });
  }
}

}  // namespace
}  // namespace hunch
