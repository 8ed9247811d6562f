// LongRope's keys are those of a text of one length: growing beyond the original context, they are made anew.
#include <gtest/gtest.h>

#include "engine/batch.h"
#include "engine/drafting.h"
#include "engine/generate.h"

namespace hunch {
namespace {

class RenewalTest : public ::testing::Test {
 protected:
  Engine engine_ = load_engine(std::filesystem::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden" / "tiny_phi3",
                               {.n_threads = 2});
  size_t limit_ = engine_.model->ropes()[0].turns_anew_beyond();

  // The first ids of the text are a fixed mixture, as long as `n`.
  std::vector<int32_t> text(size_t n) const {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < n; ++i) ids.push_back(int32_t((i * 37 + 11) % engine_.config().n_vocab));
    return ids;
  }
  std::vector<float> logits_after(std::span<const int32_t> ids) {
    Context context(engine_, {});
    const std::span<const float> logits = context.append(ids);
    return {logits.begin(), logits.end()};
  }
  static float difference(std::span<const float> a, std::span<const float> b) {
    float worst = 0;
    for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
    return worst;
  }
};

TEST_F(RenewalTest, GrowingOnIsReadingAfresh) {
  ASSERT_LT(limit_, size_t{256});
  const std::vector<int32_t> ids = text(limit_ + 3);
  const std::span<const int32_t> all(ids);
  Context context(engine_, {});
  context.append(all.first(limit_ - 2));
  for (size_t n = limit_ - 1; n <= ids.size(); ++n)
    EXPECT_LE(difference(context.decode(all.subspan(n - 1, 1)), logits_after(all.first(n))), 1e-4f) << n;
  // And back, where the short factors count again.
  context.truncate(limit_ - 5);
  EXPECT_LE(difference(context.decode(all.subspan(limit_ - 5, 1)), logits_after(all.first(limit_ - 4))), 1e-4f);
}

TEST_F(RenewalTest, APromptInChunksHasOneLength) {
  const std::vector<int32_t> ids = text(Sequence::kChunkTokens + 40);
  Context context(engine_, {.n_ctx = ids.size() + 1});
  std::vector<float> last;
  context.append_all(ids, [&](size_t, MatView<const float> logits) {
    const std::span<const float> row = logits.row(logits.rows - 1);
    last.assign(row.begin(), row.end());
  });
  // A sequence that held the first tokens as a short text reads on.
  Context other(engine_, {.n_ctx = ids.size() + 1});
  other.append(std::span(ids).first(limit_));
  EXPECT_LE(difference(other.append(std::span(ids).subspan(limit_)), last), 1e-4f);
}

TEST_F(RenewalTest, DraftsDoNotChangeTheAnswer) {
  GenerateOptions options;
  options.n_tokens = 12;
  options.sampler.temperature = 0;
  options.ignore_end = true;
  const std::vector<int32_t> prompt = text(limit_ - 4);
  Context plain(engine_, {});
  const std::vector<int32_t> want = generate(plain, prompt, options).ids;
  DraftingOptions drafts;
  drafts.ngram = true;
  drafts.n_tokens = 3;
  Context context(engine_, {});
  Drafting drafting(engine_, context.sequence(), drafts);
  options.speculation = &drafting.speculation();
  EXPECT_EQ(generate(context, prompt, options).ids, want);
}

}  // namespace
}  // namespace hunch
