// Ten thousand greedy tokens of the demo model, drafted in several ways: those of plain decoding, one and all.
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/context_drafter.h"
#include "engine/ngram_drafter.h"
#include "engine/speculate.h"

namespace hunch {
namespace {

// Guesses words from anywhere in the text, and is sure of them.
class Liar : public NgramDrafter {
 public:
  void draft(std::span<const int32_t> text, size_t, size_t n_max, const Pace&, Draft& draft) override {
    for (size_t i = 0; i < std::min<size_t>(n_max, 3); ++i) {
      draft.ids.push_back(text[(text.size() * 7 + i) % text.size()]);
      draft.evidence.push_back(9);
    }
  }
};

TEST(SpeculateDemo, TenThousandTokensAreThoseOfPlainDecoding) {
#ifdef NDEBUG
  constexpr size_t kTokens = 10000;
#else
  constexpr size_t kTokens = 200;
  std::printf("an unoptimised build: %zu tokens instead of 10000\n", kTokens);
#endif
  const Engine engine =
      load_engine(std::filesystem::path(HUNCH_SOURCE_DIR) / "models" / "demo" / "hunch-demo.gguf", {.n_threads = 2});
  const std::vector<std::string> prompts = {
      "Once upon a time there was a little", "The old king", "\"Where are you going?\" said",
      "In the middle of the forest",         "Chapter I",    "She took the key and"};
  struct Way {
    const char* name;
    size_t fixed;
    bool sparse, ngram, liar;  // who drafts; sparse: the model itself with the sidecar beside it
    size_t n_tokens = 0, n_passes = 0;
  };
  std::vector<Way> ways = {{"n-gram, adaptive", 0, false, true, false},
                           {"sparse and n-gram, adaptive", 0, true, true, false},
                           {"sparse, 4 at a time", 4, true, false, false},
                           {"lies of 3", 3, false, false, true}};
  ASSERT_TRUE(engine.sidecar) << engine.sidecar_problem;
  size_t n_tokens = 0;
  for (size_t p = 0; n_tokens < kTokens; ++p) {
    const std::vector<int32_t> ids = engine.need_tokenizer().encode(prompts[p % prompts.size()]);
    GenerateOptions options;
    options.n_tokens = std::min<size_t>(500, kTokens - n_tokens);
    options.ignore_end = true;
    options.sampler.temperature = 0;
    // Greedy texts of a small model run into loops, which n-grams guess too easily; penalties break them.
    if (p >= prompts.size()) options.sampler.repeat_penalty = 1.05f + 0.05f * float(p / prompts.size());
    Context plain_context(engine, {});
    const Generated plain = generate(plain_context, ids, options);
    ASSERT_EQ(plain.ids.size(), options.n_tokens);
    for (Way& way : ways) {
      Context context(engine, {});
      ContextOptions sparse;
      sparse.mode = "sparse";
      Context self(engine, sparse, context.sequence());
      Speculation speculation(way.fixed);
      if (way.ngram) speculation.add(std::make_unique<NgramDrafter>());
      if (way.liar) speculation.add(std::make_unique<Liar>());
      if (way.sparse) speculation.add(std::make_unique<ContextDrafter>("sparse", self, self.n_vocab()));
      options.speculation = &speculation;
      const Generated g = generate(context, ids, options);
      ASSERT_EQ(g.ids, plain.ids) << way.name << ", prompt " << p;
      way.n_passes += speculation.n_passes();
      way.n_tokens += g.ids.size();
    }
    options.speculation = nullptr;
    n_tokens += plain.ids.size();
  }
  EXPECT_GE(n_tokens, kTokens);
  for (const Way& way : ways)
    std::printf("%s: %.2f tokens per pass\n", way.name, double(way.n_tokens) / double(way.n_passes));
  EXPECT_LT(ways[2].n_passes, ways[2].n_tokens);  // else nothing was accepted, and nothing tested
}

}  // namespace
}  // namespace hunch
