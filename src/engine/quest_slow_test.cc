// Two thousand greedy tokens, certified to a tiny tolerance: those of the whole cache.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/test_paths.h"
#include "engine/generate.h"
#include "select/key_policies.h"

namespace hunch {
namespace {

// As many texts of n_ctx tokens as that takes, each begun by another part of `text`.
void expect_the_whole_caches_answers(const Engine& engine, const std::string& text, size_t n_ctx, size_t n_tokens) {
  const std::vector<int32_t> ids = engine.need_tokenizer().encode(text.substr(0, 100000), {false, false});
  ContextOptions options;
  options.n_ctx = n_ctx;
  Context whole(engine, options);
  options.keys = key_policy_from("quest:64,full=0,certified=0.000001");
  Context certified(engine, options);
  constexpr size_t kPrompt = 64;
  GenerateOptions greedy;
  greedy.sampler.temperature = 0;
  greedy.ignore_end = true;
  greedy.n_tokens = n_ctx - kPrompt;
  for (size_t n = 0, first = 0; n < n_tokens; n += greedy.n_tokens, first += 1000) {
    const auto prompt = std::span(ids).subspan(first, kPrompt);
    whole.truncate(0);
    certified.truncate(0);
    const std::vector<int32_t> got = generate(certified, prompt, greedy).ids;
    EXPECT_EQ(got, generate(whole, prompt, greedy).ids) << "after " << n << " tokens";
    EXPECT_EQ(got.size(), greedy.n_tokens);
  }
  const PageReads& pages = certified.stats().pages;
  ASSERT_GT(pages.n_choices, 0u);
  std::printf("%.2f of %.2f pages read, all %.1f %% of the time\n", double(pages.n_read) / double(pages.n_choices),
              double(pages.n_of) / double(pages.n_choices), 100 * double(pages.n_whole) / double(pages.n_choices));
}

#ifdef NDEBUG
constexpr size_t kTokens = 2000;
#else
constexpr size_t kTokens = 400;  // an unoptimised build
#endif

TEST(CertifiedQuest, IsTheWholeCacheOfTheDemoModel) {
  const std::filesystem::path demo = std::filesystem::path(HUNCH_SOURCE_DIR) / "models" / "demo";
  const Engine engine = load_engine(demo / "hunch-demo.gguf", {.n_threads = 2});
  expect_the_whole_caches_answers(engine, read_file(demo / "eval.txt"), engine.config().n_ctx_train, kTokens);
}

TEST(CertifiedQuest, IsTheWholeCacheOfASmallLlama) {
  const auto model = shared_path("models/stories260K/stories260K.gguf"), text = shared_path("corpus/val.txt");
  if (!model || !text) GTEST_SKIP() << "needs the shared models/stories260K and corpus/val.txt";
  const Engine engine = load_engine(*model, {.n_threads = 2});
  expect_the_whole_caches_answers(engine, read_file(*text), 512, kTokens);
}

}  // namespace
}  // namespace hunch
