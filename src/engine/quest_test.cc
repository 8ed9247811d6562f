// Texts whose queries read a few pages of the cache, whatever becomes of them: against a selector that remembers
// nothing and finds the pages anew, key by key, for every token.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/test_paths.h"
#include "engine/answer.h"
#include "engine/drafting.h"
#include "engine/test_synth.h"
#include "engine/test_texts.h"
#include "select/key_policies.h"
#include "select/test_pages.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

fs::path fixture(const char* name) { return fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / name; }

class FromScratch final : public KeySelector {
 public:
  FromScratch(const PageBudget& budget, size_t n_full) : budget_(budget), n_full_(n_full) {}
  std::string_view kind() const override { return "from scratch"; }
  bool attends() const override { return true; }
  size_t most_slots() const override { return SIZE_MAX; }
  std::unique_ptr<SelectorState> new_state() const override { return std::make_unique<State>(*this); }

 private:
  struct State final : KeyState {
    explicit State(const FromScratch& all) : all(all) {}
    void keep(const KeyPlace&, std::span<Rows>) override {}
    void truncate(size_t) override {}
    PageReads attend(Compute&, const KeyPlace& place, const AttentionSpan& query, MatView<const float> Q, size_t n_head,
                     const AttentionParams& params, MatView<float> out) override {
      if (place.layer < all.n_full_ || params.window > 0) {
        ref::attention(Q, n_head, {&query, 1}, params, out);
      } else {
        ref_attend_to_pages(all.budget_, query, Q, n_head, params, out);
      }
      return {};
    }
    const FromScratch& all;
  };
  const PageBudget budget_;
  const size_t n_full_;
};

GenerateOptions greedy(size_t n_tokens) {
  GenerateOptions options;
  options.n_tokens = n_tokens;
  options.ignore_end = true;
  options.sampler.temperature = 0;
  return options;
}

struct Kind {
  const char *name, *model;
  KvType type = DType::kF32;
  bool per_head = false;
  size_t n_ctx = 170;
};

class QuestTexts : public ::testing::TestWithParam<Kind> {};

TEST_P(QuestTexts, AreTheReferencesWhateverBecomesOfThem) {
  const Kind& c = GetParam();
  const bool is_synth = std::string_view(c.model) == "synth";
  const Engine loaded = is_synth ? Engine() : load_engine(fixture(c.model), {.n_threads = 2});
  const Engine& engine = is_synth ? synth_engine() : loaded;
  // In groups a page is a group: four of them, as those of 4 tokens are four.
  const size_t n_budget = c.type.grouped() ? 128 : 16;
  const PageBudget budget{.page_tokens = c.type.grouped() ? kKvGroup : 4, .n_pages = 4, .per_head = c.per_head};
  World got(engine, c.n_ctx, key_policy_from(fmt::format("quest:{},page=4,full=1,own={}", n_budget, int(c.per_head))),
            c.type);
  World want(engine, c.n_ctx, std::make_shared<FromScratch>(budget, 1), c.type);
  compare_texts(engine, got, want, c.n_ctx, 3e-3f, c.type.grouped() ? 90 : 40);
  EXPECT_GT(got.batch.transformer().stats.pages.n_choices, c.type.grouped() ? 40u : 100u);
  EXPECT_EQ(want.batch.transformer().stats.pages.n_choices, 0u);
}

INSTANTIATE_TEST_SUITE_P(Models, QuestTexts,
                         ::testing::Values(Kind{"llama", "tiny_llama"}, Kind{"llama_f16", "tiny_llama", DType::kF16},
                                           Kind{"llama_rotated", "tiny_llama", KvType::rotated_of(DType::kF32)},
                                           Kind{"llama_own", "tiny_llama", DType::kF32, true},
                                           Kind{"kivi_2", "synth", KvType::kivi(2), false, 330},
                                           Kind{"kivi_4_own", "synth", KvType::kivi(4), true, 330},
                                           Kind{"q4_0_rotated", "synth", KvType::rotated_of(DType::kQ4_0)},
                                           Kind{"q8_0_own", "synth", DType::kQ8_0, true},
                                           Kind{"opt", "tiny_opt", DType::kF32, false, 56}, Kind{"bloom", "tiny_bloom"},
                                           Kind{"gptoss_own", "tiny_gptoss", DType::kF16, true},
                                           Kind{"gemma2", "gemma2"}, Kind{"gemma3n", "tiny_gemma3n"},
                                           Kind{"deepseek3", "tiny_deepseek3"}, Kind{"qwen3next", "tiny_qwen3next"}),
                         [](const auto& info) { return info.param.name; });

TEST(Quest, ABudgetOfTheWholeTextChangesNothing) {
  const Engine engine = load_engine(fixture("tiny_llama"), {.n_threads = 1});
  const std::vector<int32_t> ids = some_ids(engine, 60, 1);
  ContextOptions options;
  options.n_ctx = 64;
  Context whole(engine, options);
  options.keys = key_policy_from("quest:64,full=0");  // as much as the context: no error, it drops nothing
  Context pages(engine, options);
  whole.append(std::span(ids).first(50));
  pages.append(std::span(ids).first(50));
  for (size_t i = 50; i < 60; ++i)
    EXPECT_TRUE(
        std::ranges::equal(whole.decode(std::span(ids).subspan(i, 1)), pages.decode(std::span(ids).subspan(i, 1))));
  EXPECT_EQ(pages.stats().pages.n_choices, 0u);
}

TEST(Quest, VerifiedTokensHaveTheBitsOfTokensOneByOne) {
  for (const char* policy :
       {"quest:16,page=4,full=0", "quest:16,page=4,full=0,own=1", "quest:8,page=4,full=0,certified=0.05"}) {
    SCOPED_TRACE(policy);
    const Engine engine = load_engine(fixture("tiny_llama"), {.n_threads = 2});
    const std::vector<int32_t> ids = some_ids(engine, 85, 2);
    ContextOptions options;
    options.n_ctx = 96;
    options.keys = key_policy_from(policy);
    Context one_by_one(engine, options), together(engine, options);
    options.decodes_all = true;
    Context measured(engine, options);
    std::vector<std::vector<float>> all;
    measured.append_all(ids, [&](size_t, MatView<const float> logits) {
      for (size_t r = 0; r < logits.rows; ++r) all.emplace_back(logits.row(r).begin(), logits.row(r).end());
    });
    one_by_one.append(std::span(ids).first(50));
    together.append(std::span(ids).first(50));
    for (size_t i = 50; i + 10 <= ids.size(); i += 10) {
      const MatView<const float> logits = together.verify(std::span(ids).subspan(i, 10));
      for (size_t r = 0; r < 10; ++r) {
        const std::span<const float> want = one_by_one.decode(std::span(ids).subspan(i + r, 1));
        EXPECT_TRUE(std::ranges::equal(logits.row(r), want)) << i + r;
      }
      if (i == 60) together.truncate(63), one_by_one.truncate(63), i = 53;
    }
    EXPECT_GT(together.stats().pages.n_choices, 0u);
    EXPECT_GT(measured.stats().pages.n_choices, together.stats().pages.n_choices) << "the first tokens too";
    ASSERT_EQ(all.size(), ids.size());
  }
}

TEST(Quest, DraftsChangeNothing) {
  const Engine engine = load_engine(fixture("tiny_llama"), {.n_threads = 1});
  std::vector<int32_t> prompt = some_ids(engine, 12, 3);
  for (size_t i = 0; i < 48; ++i) prompt.push_back(prompt[i]);  // n-grams find something
  ContextOptions options;
  options.n_ctx = 160;
  options.keys = key_policy_from("quest:16,page=4,full=0");
  Context plain(engine, options), drafted(engine, options);
  const std::vector<int32_t> want = generate(plain, prompt, greedy(80)).ids;
  Drafting drafting(engine, drafted.sequence(), {.ngram = true, .n_tokens = 4});
  GenerateOptions with_drafts = greedy(80);
  with_drafts.speculation = &drafting.speculation();
  EXPECT_EQ(generate(drafted, prompt, with_drafts).ids, want);
  EXPECT_LT(drafting.speculation().n_passes(), 79u) << "some drafts were right";
  options.keys = nullptr;
  Context whole(engine, options);
  EXPECT_NE(generate(whole, prompt, greedy(80)).ids, want) << "the budget leaves something out";
}

// The same text, once with a few of its pages for a draft, once with all of them to verify it.
TEST(Quest, FewPagesDraftAndAllVerify) {
  const Engine engine = load_engine(fixture("tiny_llama"), {.n_threads = 1});
  const std::vector<int32_t> prompt = some_ids(engine, 60, 4);
  ContextOptions options;
  options.n_ctx = 200;
  Context whole(engine, options), drafted(engine, options);
  const std::vector<int32_t> want = generate(whole, prompt, greedy(100)).ids;
  const auto keys = key_policy_from("quest:24,page=4,full=0");
  Drafting drafting(engine, drafted.sequence(), {.keys = keys, .n_tokens = 4});
  GenerateOptions with_drafts = greedy(100);
  with_drafts.speculation = &drafting.speculation();
  EXPECT_EQ(generate(drafted, prompt, with_drafts).ids, want);
  const auto stats = drafting.speculation().stats();
  EXPECT_STREQ(stats[0].name, "pages");
  EXPECT_GT(stats[0].n_accepted, 10u);
  EXPECT_GT(drafted.stats().n_tokens, 0u);
  EXPECT_EQ(drafted.stats().pages.n_choices, 0u) << "verified with all keys";

  options.keys = keys;
  Context few(engine, options);
  EXPECT_THROW(Drafting(engine, few.sequence(), {.keys = keys}), Error) << "nobody reads all keys";
  EXPECT_THROW(Drafting(engine, whole.sequence(), {.keys = key_policy_from("h2o:8")}), Error);
}

TEST(Quest, ABranchKnowsItsPages) {
  const Engine engine = load_engine(fixture("tiny_llama"), {.n_threads = 1});
  World world(engine, 170, key_policy_from("quest:16,page=4,full=0"), DType::kF32);
  world.compute(0, some_ids(engine, 100, 1), Phase::kPrompt);
  const auto bytes_of = [&](size_t text) {
    const uint64_t before = world.batch.transformer().stats.kv_bytes;
    world.compute(text, some_ids(engine, 1, 2), Phase::kDecode);
    return world.batch.transformer().stats.kv_bytes - before;
  };
  const uint64_t first = bytes_of(0), next = bytes_of(0);
  EXPECT_GT(first, next) << "the prompt's pages were summarised";
  world.texts.push_back(world.texts[0]->fork(101));
  EXPECT_LE(bytes_of(1), next);
}

TEST(Quest, APauseChangesNothing) {
  const Engine engine = load_engine(fixture("tiny_llama"), {.n_threads = 1});
  ContextOptions options;
  options.n_ctx = 160;
  options.keys = key_policy_from("quest:16,page=4,full=0");
  const auto answer = [&](size_t pause_at) {
    Batch batch(engine, {.n_tokens = 1000, .n_sequences = 2});
    std::vector<std::unique_ptr<Sequence>> texts;
    std::vector<std::shared_ptr<Answer>> answers;
    for (uint32_t i = 0; i < 2; ++i) {
      texts.push_back(batch.new_sequence(sequence_options(engine, options)));
      answers.push_back(batch.admit(*texts[i], some_ids(engine, 50 + 9 * i, i), greedy(40)));
    }
    for (size_t step = 0; batch.step(); ++step)
      if (step == pause_at) {
        batch.remove(*answers[0]);
        answers[0]->begin_anew();
        batch.resume(answers[0]);
      }
    return std::pair(answers[0]->generated().ids, answers[1]->generated().ids);
  };
  const auto want = answer(SIZE_MAX);
  EXPECT_EQ(answer(20), want);
}

TEST(Quest, CertifiedToATinyToleranceIsTheWholeCacheAndLeavesPagesOut) {
  const Engine engine = load_engine(fixture("tiny_llama"), {.n_threads = 2});
  const std::vector<int32_t> prompt = some_ids(engine, 60, 5);
  ContextOptions options;
  options.n_ctx = 200;
  Context whole(engine, options);
  options.keys = key_policy_from("quest:8,page=4,full=0,certified=0.000001");
  Context certified(engine, options);
  EXPECT_EQ(generate(certified, prompt, greedy(120)).ids, generate(whole, prompt, greedy(120)).ids);
  const PageReads& pages = certified.stats().pages;
  EXPECT_GT(pages.n_choices, 0u);
  EXPECT_GT(pages.n_read, pages.n_choices * 2) << "more than the budget";
  EXPECT_LE(pages.n_whole, pages.n_choices);
}

}  // namespace
}  // namespace hunch
