// Prompts that read a part of what stands before, in whole models: against tokens one by one that are told what to
// read.
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "base/test_paths.h"
#include "engine/context.h"
#include "engine/test_texts.h"
#include "model/test_steps.h"
#include "select/key_policies.h"
#include "select/prompt_key_lists.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

// A decoded token reads what an a-shape gives to its block; until the prompt's `end`.
class AShapeByToken final : public KeySelector {
 public:
  AShapeByToken(const PromptPattern& pattern, size_t end) : pattern_(pattern), end_(end) {}
  std::string_view kind() const override { return "a-shape by token"; }
  size_t most_slots() const override { return SIZE_MAX; }
  std::unique_ptr<SelectorState> new_state() const override { return std::make_unique<State>(*this); }

 private:
  struct State final : KeyState {
    explicit State(const AShapeByToken& all) : all(all) {}
    std::span<const Rows> readable(const KeyPlace& place) override {
      const size_t position = place.view.n_tokens - 1, first = position / 64 * 64;
      // The block that a prompt's end cuts short is as long as what there is of it.
      const size_t end = std::min(first + 64, all.end_);
      if (position >= all.end_ || end <= all.pattern_.budget) return {};
      rows.resize(place.view.n_kv_head);
      for (Rows& r : rows) {
        std::vector<uint32_t>& ids = r.refill(place.view.n_tokens);
        a_shape_keys(all.pattern_, first, 64, ids);
        std::erase_if(ids, [&](uint32_t id) { return id > position; });
      }
      return rows;
    }
    void keep(const KeyPlace& place, std::span<Rows> out) override {
      for (size_t h = 0; h < out.size(); ++h) out[h].refill_all(place.view.n_slots(h));
    }
    void truncate(size_t) override {}
    const AShapeByToken& all;
    std::vector<Rows> rows;
  };
  const PromptPattern pattern_;
  const size_t end_;
};

struct Kind {
  const char* model;
  KvType type = DType::kF32;
};

class PatternsOfModels : public ::testing::TestWithParam<Kind> {};

// However the prompt is cut, taken back and read again: what it computed is what its tokens would be by themselves.
TEST_P(PatternsOfModels, AShapesAreMasks) {
  const Engine engine = load_engine(golden_fixture(GetParam().model), {.n_threads = 2});
  constexpr size_t n = 300;
  const std::vector<int32_t> ids = some_ids(engine, n, 3);
  ContextOptions options;
  options.n_ctx = 400;
  options.kv_type = GetParam().type;
  Context whole(engine, options);
  options.prefill = "a-shape:70,sinks=5";
  Context got(engine, options);
  options.prefill.clear();
  options.keys = std::make_shared<AShapeByToken>(prompt_pattern_from("a-shape:70,sinks=5"), n);
  Context by_token(engine, options);
  std::vector<float> want;
  for (const int32_t id : ids) {
    const std::span<const float> logits = by_token.decode({&id, 1});
    want.assign(logits.begin(), logits.end());
  }
  std::mt19937 rng(4);
  for (size_t round = 0; round < 4; ++round) {
    got.truncate(round == 0 ? 0 : rng() % n);  // another text's tokens go, too
    if (!std::equal(got.ids().begin(), got.ids().end(), ids.begin())) got.truncate(0);
    std::span<const float> logits;
    while (got.n_tokens() < n) {
      const size_t left = n - got.n_tokens();
      const size_t part = round == 0 ? left : std::min(left, 64 * (1 + rng() % 3) - got.n_tokens() % 64);
      logits = got.append(std::span(ids).subspan(got.n_tokens(), part));
    }
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(logits[i], want[i], 3e-3) << "round " << round;
  }
  const std::span<const float> dense = whole.append(ids);
  float most = 0;
  for (size_t i = 0; i < want.size(); ++i) most = std::max(most, std::abs(dense[i] - want[i]));
  EXPECT_GT(most, 0.01f) << "what was not read is missed";
}

INSTANTIATE_TEST_SUITE_P(Models, PatternsOfModels,
                         ::testing::Values(Kind{"tiny_llama"}, Kind{"tiny_llama", DType::kF16}, Kind{"tiny_bloom"},
                                           Kind{"tiny_qwen3next"}, Kind{"tiny_gemma2"}),
                         [](const auto& info) { return std::string(info.param.model) + std::to_string(info.index); });

TEST(PromptPatternsOfContexts, WithinTheBudgetChangeNoBit) {
  const Engine engine = load_engine(golden_fixture("tiny_llama"), {.n_threads = 1});
  const std::vector<int32_t> ids = some_ids(engine, 200, 5);
  ContextOptions options;
  options.n_ctx = 256;
  Context dense(engine, options);
  for (const char* name : {"a-shape:200", "vertical-slash:200", "blocks:200"}) {
    options.prefill = name;
    Context limited(engine, options);
    const std::span<const float> want = dense.append(ids), got = limited.append(ids);
    EXPECT_TRUE(std::ranges::equal(want, got)) << name;
    dense.truncate(0);
  }
}

// A text that is read again, alone or beside others, in the same chunks, is the same; decoding reads everything.
TEST(PromptPatternsOfContexts, DoNotDependOnNeighbours) {
  const Engine engine = load_engine(golden_fixture("tiny_llama"), {.n_threads = 2});
  for (const char* name : {"vertical-slash:130,sinks=8", "blocks:128"}) {
    ContextOptions options;
    options.n_ctx = 700;
    options.prefill = name;
    const SequenceOptions own = sequence_options(engine, options);
    Batch batch(engine, {3000, DType::kF32, 4});
    const auto alone = batch.new_sequence(own), beside = batch.new_sequence(own), other = batch.new_sequence(own);
    const std::vector<int32_t> ids = some_ids(engine, 600, 6), others = some_ids(engine, 600, 7);
    std::vector<float> want, got;
    const auto read = [&](Sequence& text, const std::vector<int32_t>& of, size_t first, size_t n) {
      return SequenceRun{&text, std::span(of).subspan(first, n), Phase::kPrompt, 1};
    };
    for (const auto& [first, n] : {std::pair<size_t, size_t>{0, 512}, {512, 88}}) {
      const SequenceRun one = read(*alone, ids, first, n);
      const std::span<const float> logits = batch.compute({&one, 1}).row(0);
      want.assign(logits.begin(), logits.end());
    }
    for (const auto& [first, n] : {std::pair<size_t, size_t>{0, 512}, {512, 88}}) {
      const SequenceRun two[] = {read(*other, others, first, n), read(*beside, ids, first, n)};
      const std::span<const float> logits = batch.compute(two).row(1);
      got.assign(logits.begin(), logits.end());
    }
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-4) << name;
    const auto branch = beside->fork(600);
    const int32_t next = 3;
    const SequenceRun runs[] = {{beside.get(), {&next, 1}, Phase::kDecode, 1},
                                {branch.get(), {&next, 1}, Phase::kDecode, 1}};
    const MatView<const float> logits = batch.compute(runs);
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(logits.row(0)[i], logits.row(1)[i], 1e-4);
  }
}

TEST(PromptPatternsOfContexts, GoWithPoliciesOfPrompts) {
  const Engine engine = load_engine(golden_fixture("tiny_llama"), {.n_threads = 1});
  ContextOptions options;
  options.n_ctx = 400;
  options.prefill = "vertical-slash:130,sinks=8";
  options.keys = key_policy_from("snapkv:64");
  Context context(engine, options);
  const std::vector<int32_t> ids = some_ids(engine, 300, 8);
  context.append(ids);
  context.decode(std::span(ids).first(1));
  EXPECT_LT(context.sequence().n_cached(), 80u);
}

TEST(PromptPatternsOfContexts, AreRefusedWhereTheyCannotBe) {
  const auto message = [](const Engine& engine, const ContextOptions& options) -> std::string {
    try {
      Context context(engine, options);
    } catch (const Error& e) {
      return e.what();
    }
    return "nothing";
  };
  const Engine engine = load_engine(golden_fixture("tiny_llama"), {.n_threads = 1});
  ContextOptions options;
  options.prefill = "sidecar";
  EXPECT_NE(message(engine, options).find("sidecar"), std::string::npos);
  options.prefill = "stars:3";
  EXPECT_NE(message(engine, options).find("unknown pattern"), std::string::npos);
  Plan plan;
  EXPECT_THROW(
      plan.set_prompts(engine.config(), std::make_shared<PromptPatterns>(std::vector<std::vector<PromptPattern>>(5))),
      Error);
  EXPECT_THROW(plan.set_prompts(engine.config(),
                                std::make_shared<PromptPatterns>(std::vector<std::vector<PromptPattern>>{{{}}, {}})),
               Error);
}

}  // namespace
}  // namespace hunch
