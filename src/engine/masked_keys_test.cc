// Caches that drop tokens against a cache that drops none and hides them: the same policies, told of the same weights.
#include <gtest/gtest.h>

#include <random>

#include "base/test_paths.h"
#include "engine/context.h"
#include "engine/test_hiding.h"
#include "select/key_policies.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

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
