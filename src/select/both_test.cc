#include "select/both.h"

#include <gtest/gtest.h>

#include "select/selector_states.h"
#include "select/selectors.h"

namespace hunch {
namespace {

using Ids = std::vector<uint32_t>;

// Says how many questions its sequence was asked before: 0, 1, ...
class Counting final : public Selector {
 public:
  struct State final : SelectorState {
    void truncate(size_t) override {}
    uint32_t n_asked = 0;
  };
  void choose(Compute&, const Evidence& evidence, std::span<Rows> out) const override {
    for (Rows& rows : out) rows.refill(evidence.n_rows).push_back(static_cast<State*>(evidence.state)->n_asked++);
  }
  std::string_view kind() const override { return "counting"; }
  size_t bytes() const override { return 5; }
  std::unique_ptr<SelectorState> new_state() const override { return std::make_unique<State>(); }
};

class BothTest : public ::testing::Test {
 protected:
  std::vector<Rows> chosen(const Selector& selector, size_t n_tokens) {
    std::vector<float> x(n_tokens * 4);
    std::vector<Rows> out(n_tokens);
    selector.choose(
        compute_, {.x = {x.data(), n_tokens, 4}, .n_rows = 4, .state = states_.of(selector), .states = &states_}, out);
    return out;
  }
  static Ids ids(const Rows& rows) { return {rows.ids().begin(), rows.ids().end()}; }

  Compute compute_{1};
  SelectorStates states_;
};

TEST_F(BothTest, KeepsWhatBothKeep) {
  const std::vector<Rows> a = {Rows::of({0, 2, 3}, 4), Rows::all(4), Rows::of({1}, 4), Rows::all(4)};
  const std::vector<Rows> b = {Rows::of({1, 2, 3}, 4), Rows::of({2}, 4), Rows::all(4), Rows::all(4)};
  const Both both(std::make_shared<Given>(a), std::make_shared<Given>(b));
  for (size_t again = 0; again < 2; ++again) {
    const std::vector<Rows> out = chosen(both, 4);
    EXPECT_EQ(ids(out[0]), (Ids{2, 3}));
    EXPECT_EQ(ids(out[1]), (Ids{2}));
    EXPECT_EQ(ids(out[2]), (Ids{1}));
    EXPECT_TRUE(out[3].is_all());
    for (const Rows& rows : out) EXPECT_EQ(rows.n_total(), 4u);
  }
  const std::vector<Rows> none = {Rows::of({0}, 4)}, other = {Rows::of({3}, 4)};
  EXPECT_EQ(chosen(Both(std::make_shared<Given>(none), std::make_shared<Given>(other)), 1)[0].size(), 0u);
}

TEST_F(BothTest, EachHasTheStateThatItHasAlone) {
  const auto counting = std::make_shared<Counting>();
  const std::vector<Rows> all = {Rows::all(4)};
  const Both both(std::make_shared<Given>(all), counting);
  EXPECT_EQ(both.bytes(), 5u);
  EXPECT_EQ(ids(chosen(both, 1)[0]), (Ids{0}));
  EXPECT_EQ(ids(chosen(*counting, 1)[0]), (Ids{1}));
  EXPECT_EQ(ids(chosen(both, 1)[0]), (Ids{2}));
}

}  // namespace
}  // namespace hunch
