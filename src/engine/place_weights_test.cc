#include "engine/place_weights.h"

#include <gtest/gtest.h>

#include <map>

#include "engine/context.h"
#include "model/test_steps.h"
#include "select/selectors.h"

namespace hunch {
namespace {

ThreadPlaces two_nodes(size_t n_threads) {
  const std::vector<NumaNode> nodes = {{0, {0}}, {1, {1}}};
  return place_threads(nodes, {NumaPolicy::kDistribute}, n_threads, 0);
}

// Every byte of the matrices has one home.
TEST(PlaceWeights, EveryRowHasAHomeAndNoneHasTwo) {
  for (const char* name : {"tiny_llama", "opt_sparse", "tiny_mixtral", "tiny_falcon"}) {
    SCOPED_TRACE(name);
    const Engine engine = load_engine(golden_fixture(name), {.n_threads = 1});
    const Plan exact = Plan::exact(engine.config());
    std::map<const std::byte*, const std::byte*> homes;
    uint64_t n_bytes = 0;
    for (const PageHome& home : page_homes(engine.model->weights(), exact, two_nodes(3))) {
      EXPECT_TRUE(home.node < 2 || home.node == PageHome::kAll);
      ASSERT_FALSE(home.bytes.empty());
      EXPECT_TRUE(homes.emplace(home.bytes.data(), home.bytes.data() + home.bytes.size()).second);
      n_bytes += home.bytes.size();
    }
    const std::byte* end = nullptr;
    for (const auto& [from, to] : homes) {
      EXPECT_LE(end, from);
      end = to;
    }
    uint64_t want = 0;
    for (const Layer& l : engine.model->weights().layers)
      l.for_each_linear([&](const Linear& linear) {
        if (linear.id.role == Role::kRouter) return;
        for (const WeightView& W : {linear.rows(), linear.by_input()}) want += W ? W.bytes() : 0;
      });
    want += engine.model->weights().output->rows().bytes();
    EXPECT_EQ(n_bytes, want);
  }
}

// As products divide rows: those of gate and up in one loop, where both are computed whole.
TEST(PlaceWeights, WhatIsMultipliedTogetherIsDividedTogether) {
  const Engine engine = load_engine(golden_fixture("tiny_llama"), {.n_threads = 1});
  const Mlp& mlp = engine.model->weights().layers[0].mlp;
  const auto node_of = [&](const std::vector<PageHome>& homes, const std::byte* at) {
    for (const PageHome& home : homes)
      if (home.bytes.data() <= at && at < home.bytes.data() + home.bytes.size()) return home.node;
    return SIZE_MAX;
  };
  const std::vector<PageHome> dense = page_homes(engine.model->weights(), Plan(), two_nodes(2));
  EXPECT_EQ(node_of(dense, mlp.gate->rows().row(0)), 0u);
  EXPECT_EQ(node_of(dense, mlp.gate->rows().row(mlp.n_ff - 1)), 0u);
  EXPECT_EQ(node_of(dense, mlp.up->rows().row(0)), 1u);
  Plan by_gate;
  by_gate.set(0, Point::kLive, {std::make_shared<const Magnitude>(0.1f)});
  const std::vector<PageHome> apart = page_homes(engine.model->weights(), by_gate, two_nodes(2));
  EXPECT_EQ(node_of(apart, mlp.gate->rows().row(0)), 0u);
  EXPECT_EQ(node_of(apart, mlp.gate->rows().row(mlp.n_ff - 1)), 1u);
  EXPECT_EQ(node_of(apart, mlp.up->rows().row(0)), 0u);
}

TEST(PlaceWeights, PagesArePlacedOnce) {
  const Engine engine = load_engine(golden_fixture("tiny_llama"), {.n_threads = 1});
  const std::vector<PageHome> homes = page_homes(engine.model->weights(), Plan(), two_nodes(2));
  PlacedPages placed;
  EXPECT_EQ(placed.place(std::span(homes).first(3), two_nodes(2)), 3u);
  EXPECT_EQ(placed.place(homes, two_nodes(2)), homes.size() - 3);
  EXPECT_EQ(placed.place(homes, two_nodes(2)), 0u);
}

// On this machine, whatever nodes it has: answers do not depend on where anything lies.
TEST(PlaceWeights, AnswersAreThoseOfNoPlacement) {
  const auto logits = [](NumaPolicy numa) {
    const Engine engine = load_engine(golden_fixture("tiny_llama"), {.n_threads = 2, .numa = numa});
    Context context(engine, {.n_ctx = 32});
    const auto some = context.append(std::vector<int32_t>{3, 7, 21, 40, 9});
    return std::vector<float>(some.begin(), some.end());
  };
  const std::vector<float> want = logits(NumaPolicy::kOff);
  for (const NumaPolicy numa : {NumaPolicy::kDistribute, NumaPolicy::kIsolate}) EXPECT_EQ(logits(numa), want);
}

}  // namespace
}  // namespace hunch
