// Caches that drop tokens against a cache that drops none and hides them: the same policies, told of the same weights.
#include <gtest/gtest.h>

#include <random>

#include "base/test_paths.h"
#include "engine/context.h"
#include "select/key_policies.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

// Says what `inner` says, of a cache of which nothing goes: what inner dropped is not read.
class Hiding final : public KeySelector {
 public:
  explicit Hiding(std::shared_ptr<const KeySelector> inner) : inner_(std::move(inner)) {}
  std::string_view kind() const override { return "hiding"; }
  size_t most_slots() const override { return inner_->most_slots(); }
  bool keeps_prompts() const override { return inner_->keeps_prompts(); }
  std::unique_ptr<SelectorState> new_state() const override { return std::make_unique<State>(*inner_); }

 private:
  class State final : public KeyState {
   public:
    explicit State(const KeySelector& inner) : made_(inner.new_state()), inner_(static_cast<KeyState&>(*made_)) {}

    bool learns() const override { return inner_.learns(); }
    size_t n_watched() const override { return inner_.n_watched(); }
    size_t n_queries() const override { return inner_.n_queries(); }

    std::span<const Rows> readable(const KeyPlace& place) override {
      const KeyPlace left = what_is_left(place);
      const std::span<const Rows> chosen = inner_.readable(left);
      readable_.resize(place.view.n_kv_head);
      for (size_t head = 0; head < readable_.size(); ++head) {
        std::vector<uint32_t>& slots = readable_[head].refill(place.view.n_slots(head));
        const std::vector<uint32_t>& seen = left.view.positions[head];
        if (chosen.empty()) {
          slots.assign(seen.begin(), seen.end());
        } else {
          chosen[head].for_each([&](size_t slot) { slots.push_back(seen[slot]); });
        }
      }
      return readable_;
    }

    void observe(const KeyPlace& place, MatView<const float> weights, MatView<const float> heads) override {
      const KeyPlace left = what_is_left(place);
      size_t most = 0;
      for (const auto& seen : left.view.positions) most = std::max(most, seen.size());
      std::vector<float> of_left(weights.rows * most);
      for (size_t head = 0; head < weights.rows; ++head)
        for (size_t i = 0; i < left.view.positions[head].size(); ++i)
          of_left[head * most + i] = weights.row(head)[left.view.positions[head][i]];
      inner_.observe(left, {of_left.data(), weights.rows, most}, heads);
    }

    void see(const KeyPlace& place, const QueriesSeen& seen) override { inner_.see(what_is_left(place), seen); }

    // Where inner looks at keys itself: of a text's first prompt, all are there.
    void decide(Compute& compute, const KeyPlace& place) override { inner_.decide(compute, place); }

    void keep(const KeyPlace& place, std::span<Rows> out) override {
      const KeyPlace left = what_is_left(place);
      std::vector<Rows> kept(out.size());
      inner_.keep(left, kept);
      for (size_t head = 0; head < out.size(); ++head) {
        out[head].refill_all(place.view.n_slots(head));
        std::vector<uint32_t> stay;
        kept[head].for_each([&](size_t slot) { stay.push_back(left.view.positions[head][slot]); });
        left_[place.layer][head] = std::move(stay);
      }
    }

    void truncate(size_t n_tokens) override {
      inner_.truncate(n_tokens);
      for (auto& layer : left_)
        for (auto& head : layer) std::erase_if(head, [&](uint32_t position) { return position >= n_tokens; });
      for (size_t& n : n_known_) n = std::min(n, n_tokens);
    }

   private:
    // The place as inner knows it: without what it dropped, with the tokens that came since.
    KeyPlace what_is_left(const KeyPlace& place) {
      left_.resize(place.n_layer);
      n_known_.resize(place.n_layer);
      auto& heads = left_[place.layer];
      heads.resize(place.view.n_kv_head);
      for (size_t& n = n_known_[place.layer]; n < place.view.n_tokens; ++n)
        for (auto& head : heads) head.push_back(uint32_t(n));
      KeyPlace left = place;
      left.view.positions = heads;
      return left;
    }

    std::unique_ptr<SelectorState> made_;
    KeyState& inner_;
    std::vector<std::vector<std::vector<uint32_t>>> left_;  // [n_layer][n_kv_head] positions
    std::vector<size_t> n_known_;                           // [n_layer] tokens that were met
    std::vector<Rows> readable_;
  };

  std::shared_ptr<const KeySelector> inner_;
};

struct Kind {
  const char *policy, *model = "tiny_llama";
};

class MaskedKeys : public ::testing::TestWithParam<Kind> {};

// Prompts, tokens one by one, texts that begin anew and prompts that are cut short before their end.
TEST_P(MaskedKeys, ADropIsAMask) {
  const Engine engine =
      load_engine(fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / GetParam().model, {.n_threads = 1});
  ContextOptions options;
  options.n_ctx = 128;
  options.keys = key_policy_from(GetParam().policy);
  Context drops(engine, options);
  options.keys = std::make_shared<Hiding>(options.keys);
  Context hides(engine, options);
  options.keys = nullptr;
  Context whole(engine, options);
  std::mt19937 rng(3);
  float most_missed = 0;
  const auto ids_of = [&](size_t n) {
    std::vector<int32_t> ids(n);
    for (int32_t& id : ids) id = int32_t(rng() % engine.config().n_vocab);
    return ids;
  };
  for (size_t text = 0; text < 5; ++text) {
    const std::vector<int32_t> prompt = ids_of(30 + rng() % 40);
    for (Context* context : {&drops, &hides, &whole}) {
      context->truncate(0);
      context->append(std::span(prompt).first(20));
      context->append(std::span(prompt).subspan(20));
      if (context->sequence().cache().is_recurrent()) continue;
      context->truncate(prompt.size() - 3);  // nothing goes before the prompt has ended
      context->append(std::span(prompt).last(3));
    }
    for (size_t step = 0; step < 25; ++step) {
      const std::vector<int32_t> id = ids_of(1);
      const std::span<const float> got = drops.decode(id), want = hides.decode(id), all = whole.decode(id);
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], want[i], 2e-3) << "text " << text << ", step " << step;
        most_missed = std::max(most_missed, std::abs(got[i] - all[i]));
      }
    }
    EXPECT_LT(drops.sequence().n_cached(), hides.sequence().n_cached());
  }
  EXPECT_GT(most_missed, 0.01f) << "what was dropped is missed";
}

INSTANTIATE_TEST_SUITE_P(Policies, MaskedKeys,
                         ::testing::Values(Kind{"h2o:16"}, Kind{"tova:16"}, Kind{"spatten:16"},
                                           Kind{"snapkv:16,window=4"}, Kind{"snapkv:16,window=4,max=1", "tiny_bloom"},
                                           Kind{"pyramidkv:16,window=4,beta=4", "gemma2"}, Kind{"adakv:16,window=4"},
                                           Kind{"adakv:20,window=5,floor=0", "tiny_gptoss"},
                                           Kind{"h2o:12", "tiny_gptoss"}, Kind{"snapkv:16,window=6", "tiny_qwen3next"},
                                           Kind{"expected:16,queries=20,future=9"},
                                           Kind{"expected:16,floor=0.3", "tiny_bloom"},
                                           Kind{"expected:16,sinks=2", "tiny_qwen3next"}),
                         [](const auto& info) {
                           std::string name = fmt::format("{}_{}", info.param.policy, info.param.model);
                           std::ranges::replace_if(
                               name, [](char c) { return !std::isalnum(c); }, '_');
                           return name;
                         });

}  // namespace
}  // namespace hunch
