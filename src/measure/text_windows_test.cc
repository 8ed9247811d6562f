#include "measure/text_windows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "measure/perplexity.h"
#include "model/test_steps.h"

namespace hunch {
namespace {

class TextWindowsTest : public ::testing::Test {
 protected:
  TextWindowsTest() : text_(50) { std::iota(text_.begin(), text_.end(), 5); }
  void give_bos() {
    TokenizerSpec spec;
    for (size_t i = 0; i < engine_.config().n_vocab; ++i) spec.pieces.push_back("t" + std::to_string(i));
    spec.types.assign(spec.pieces.size(), TokenType::kNormal);
    spec.ignore_merges = true;
    spec.bos = 2;
    spec.add_bos = true;
    engine_.tokenizer.emplace(std::move(spec));
  }
  Engine engine_ = load_engine(golden_fixture("opt_sparse"), {1});
  std::vector<int32_t> text_;
};

TEST_F(TextWindowsTest, SlidingOnesScoreEachTokenOnce) {
  for (const size_t stride : {1, 5, 8, 16}) {
    TextWindows windows(engine_, text_, {.n_ctx = 16, .stride = stride});
    size_t next = 1;
    for (const TextWindow& w : windows.all()) {
      EXPECT_EQ(w.first_scored, std::max(next, w.begin + 1));
      EXPECT_EQ(w.begin % stride, 0u);
      EXPECT_LE(w.end - w.begin, 16u);
      EXPECT_TRUE(w.begin == 0 || w.first_scored - w.begin >= std::max<size_t>(1, 16 - stride)) << w.begin;
      next = w.end;
    }
    EXPECT_EQ(next, text_.size());
    EXPECT_EQ(windows.n_scored(), stride == 16 ? 46u : 49u);
  }
  EXPECT_EQ(TextWindows(engine_, text_, {.n_ctx = 16, .max_tokens = 20}).n_scored(), 19u);
  EXPECT_EQ(TextWindows(engine_, text_, {.n_ctx = 64}).n_longest(), 50u);
}

// Of 16 tokens those from number 9 on are predicted with 9 or more before them; 2 of 50 are left over.
TEST_F(TextWindowsTest, SecondHalvesAreThoseOfLlamaCpp) {
  WindowOptions options{.n_ctx = 16};
  options.protocol = WindowProtocol::kSecondHalves;
  TextWindows windows(engine_, text_, options);
  ASSERT_EQ(windows.all().size(), 3u);
  EXPECT_EQ(windows.n_scored(), 3u * 7);
  EXPECT_EQ(windows.all()[1].begin, 16u);
  EXPECT_EQ(windows.all()[1].first_scored, 25u);
  EXPECT_EQ(windows.ids(windows.all()[1])[0], text_[16]);
  const Perplexity got = perplexity(engine_, {}, text_, options);
  double nll = 0;
  for (size_t begin : {0, 16, 32}) {
    Context context(engine_, {});
    context.append_all(std::span(text_).subspan(begin, 16), [&](size_t first, MatView<const float> logits) {
      for (size_t i = 0; i < logits.rows; ++i)
        if (first + i >= 8 && first + i < 15) nll -= log_prob(logits.row(i), text_[begin + first + i + 1]);
    });
  }
  EXPECT_NEAR(got.nll, nll, 1e-3);
  EXPECT_EQ(got.n_tokens, 21u);

  give_bos();
  TextWindows with_bos(engine_, text_, options);
  EXPECT_EQ(with_bos.ids(with_bos.all()[1])[0], 2);
  EXPECT_EQ(with_bos.ids(with_bos.all()[1])[1], text_[17]);
  EXPECT_EQ(TextWindows(engine_, text_, {.n_ctx = 16}).ids({16, 32, 17})[0], text_[16]);
}

TEST_F(TextWindowsTest, RefusesWhatHasNothingToScore) {
  WindowOptions halves{.n_ctx = 51};
  halves.protocol = WindowProtocol::kSecondHalves;
  EXPECT_THROW(TextWindows(engine_, text_, halves), Error);
  halves.n_ctx = 16;
  halves.stride = 8;
  EXPECT_THROW(TextWindows(engine_, text_, halves), Error);
  EXPECT_THROW(TextWindows(engine_, text_, {.n_ctx = 16, .stride = 17}), Error);
  EXPECT_THROW(TextWindows(engine_, text_, {.n_ctx = 1}), Error);
  EXPECT_THROW(TextWindows(engine_, std::span(text_).first(1), {}), Error);
}

}  // namespace
}  // namespace hunch
