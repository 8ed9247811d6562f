// Every architecture divided among ranks, against one rank.
#include "model/ranks.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/stop.h"
#include "model/architecture.h"
#include "model/test_ranks.h"
#include "model/test_steps.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

constexpr size_t kCacheTokens = 128;

struct Outcome {
  std::vector<float> logits;    // of all of a prompt
  std::vector<int32_t> greedy;  // what follows, token by token
};

Outcome outcome_of(const Model& model, Compute& compute, std::span<const int32_t> prompt, const Plan* plan) {
  KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), kCacheTokens);
  Transformer transformer(model, cache, compute);
  const KvCache::SequenceId sequence = cache.create();
  Outcome out;
  const hunch::Run read{sequence, prompt.size(), plan ? Phase::kDecode : Phase::kPrompt, plan};
  const MatView<const float> logits = transformer.run({prompt, {&read, 1}, rows_up_to(prompt.size())});
  append_rows(logits, out.logits);
  int32_t next = int32_t(argmax(logits.row(prompt.size() - 1)));
  for (int i = 0; i < 8; ++i) {
    out.greedy.push_back(next);
    const hunch::Run run{sequence, 1, Phase::kDecode, plan};
    const uint32_t row = 0;
    next = int32_t(argmax(transformer.run({{&next, 1}, {&run, 1}, {&row, 1}}).row(0)));
  }
  return out;
}

// Of words that all fixtures have.
std::vector<int32_t> some_ids() {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 24; ++i) ids.push_back((7 * i + 5) % 61);
  return ids;
}

std::vector<fs::path> fixtures() {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(golden_fixture("")))
    if (fs::exists(entry.path() / "config.json")) folders.push_back(entry.path());
  std::ranges::sort(folders);
  return folders;
}

// Several streams; vocabularies in clusters.
const std::set<std::string> kNotDivided = {"tiny_gemma3n", "tiny_transfoxl", "tiny_transfoxl_segments"};

bool reads_keys_of_other_layers(const fs::path& folder) {
  const ModelConfig config = config_from_gguf(open_model(folder).file);
  return std::ranges::any_of(config.layers, [](const LayerConfig& l) { return l.borrows_keys(); });
}

class RanksGolden : public ::testing::TestWithParam<fs::path> {
 protected:
  void expect_same(size_t n, const Division& division) {
    const std::vector<int32_t> prompt = some_ids();
    Compute compute(1);
    const Model whole(open_model(GetParam()).file, {}, compute);
    const Plan exact = Plan::exact(whole.config());
    const std::string others = on_ranks(
        n, GetParam(),
        [&](const Model& model, Compute& own) {
          for (const Plan* plan : {static_cast<const Plan*>(nullptr), &exact}) {
            const Outcome want = outcome_of(whole, compute, prompt, plan), got = outcome_of(model, own, prompt, plan);
            float scale = 1;  // of the logits
            for (const float x : want.logits) scale = std::max(scale, std::abs(x));
            EXPECT_LE(worst_difference(got.logits, want.logits), 2e-5f * scale);
            EXPECT_EQ(got.greedy, want.greedy);
          }
        },
        division);
    EXPECT_EQ(others, "");
  }
};

TEST_P(RanksGolden, LogitsAndGreedyTextAreThoseOfOneRank) {
  if (!kNotDivided.contains(GetParam().filename().string())) {
    for (const size_t n : {2, 4}) {
      SCOPED_TRACE(fmt::format("tensors among {} ranks", n));
      expect_same(n, {});
    }
    SCOPED_TRACE("layers among 2 ranks");
    if (!reads_keys_of_other_layers(GetParam())) return expect_same(2, {.by_layers = true});
  }
  try {
    expect_same(2, {.by_layers = true});
    ADD_FAILURE() << "it is divided";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUnsupported) << e.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, RanksGolden, ::testing::ValuesIn(fixtures()),
                         [](const auto& info) { return info.param.filename().string(); });

// What a plan that leaves nothing out reads wants laying out as of any other.
TEST(Ranks, PartsAreLaidOutOnceBeforeTheirFirstStep) {
  size_t n_times = 0;
  FollowerHooks hooks;
  hooks.prepare = [&](const Plan& plan) {
    EXPECT_TRUE(plan.empty());
    ++n_times;
  };
  const Plan dense;
  const auto lead = [&](const Model& model, Compute& compute) { outcome_of(model, compute, some_ids(), &dense); };
  EXPECT_EQ(on_ranks(2, golden_fixture("tiny_llama"), lead, {}, {}, hooks), "");
  EXPECT_EQ(n_times, 1u);
}

// Several sequences, steps of different lengths, tokens taken back, copies, and what is forgotten.
TEST(Ranks, CachesOfTheOthersGoAlong) {
  const fs::path path = golden_fixture("tiny_llama");
  const std::vector<int32_t> ids = some_ids();
  const auto story = [&](const Model& model, Compute& compute) {
    KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 4), 64);
    Transformer transformer(model, cache, compute);
    std::vector<float> logits;
    const auto read = [&](KvCache::SequenceId sequence, std::span<const int32_t> some) {
      const hunch::Run run{sequence, some.size()};
      const uint32_t last = uint32_t(some.size() - 1);
      append_rows(transformer.run({some, {&run, 1}, {&last, 1}}), logits);
    };
    const std::span<const int32_t> all(ids);
    const auto a = cache.create(), b = cache.create();
    read(a, all.first(10));
    read(b, all.subspan(3, 5));
    cache.truncate(a, 6);
    read(a, all.subspan(2, 3));
    const auto c = cache.fork(a);
    read(c, all.first(2));
    read(a, all.subspan(5, 4));
    cache.release(b);
    const auto d = cache.create();
    const hunch::Run both[] = {{d, 4}, {c, 1}};
    const std::vector<uint32_t> rows = {3, 4};
    append_rows(transformer.run({all.first(5), both, rows}), logits);
    {
      KvCache other(Transformer::kv_shape(model.config(), DType::kF16, 8), 32);
      Transformer beside(model, other, compute);
      const hunch::Run run{other.create(), 7};
      append_rows(beside.run({all.first(7), {&run, 1}, rows}), logits);
    }
    read(d, all.subspan(8, 2));
    return logits;
  };
  Compute compute(1);
  const Model whole(open_model(path).file, {}, compute);
  const std::vector<float> want = story(whole, compute);
  for (const size_t n : {2, 4})
    EXPECT_EQ(on_ranks(n, path,
                       [&](const Model& model, Compute& own) {
                         EXPECT_LE(worst_difference(story(model, own), want), 1e-4f);
                       }),
              "");
}

// A stop is rank 0's, and everyone's: all forget the step, and go on.
TEST(Ranks, AStopEndsAStepEverywhere) {
  const fs::path path = golden_fixture("tiny_llama");
  std::vector<int32_t> ids(40, 3);
  EXPECT_EQ(on_ranks(2, path,
                     [&](const Model& model, Compute& compute) {
                       Stop stop;
                       compute.stop = &stop;
                       KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), kCacheTokens);
                       Transformer transformer(model, cache, compute);
                       const hunch::Run run{cache.create(), ids.size()};
                       const std::vector<uint32_t> row = {39};
                       std::vector<float> before, after;
                       append_rows(transformer.run({ids, {&run, 1}, row}), before);
                       cache.truncate(run.sequence, 0);
                       stop.request();
                       EXPECT_THROW(transformer.run({ids, {&run, 1}, row}), Error);
                       EXPECT_EQ(cache.n_tokens(run.sequence), 0u);
                       stop.clear();
                       append_rows(transformer.run({ids, {&run, 1}, row}), after);
                       EXPECT_EQ(before, after);
                     }),
            "");
}

// Of a prompt alone: what one token adds up is short.
TEST(Ranks, SumsOfPromptsAreRoundedWhereThatIsAskedFor) {
  const fs::path path = golden_fixture("tiny_llama");
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 160; ++i) ids.push_back((11 * i + 3) % 61);
  const auto logits_of = [&](size_t n_ranks, size_t n_prompt, bool rounds) {
    std::vector<float> logits;
    EXPECT_EQ(on_ranks(n_ranks, path,
                       [&](const Model& model, Compute& compute) {
                         KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), 192);
                         Transformer transformer(model, cache, compute);
                         const hunch::Run run{cache.create(), n_prompt};
                         const std::vector<uint32_t> row = {uint32_t(n_prompt - 1)};
                         append_rows(transformer.run({std::span(ids).first(n_prompt), {&run, 1}, row}), logits);
                       },
                       {.rounds_sums = rounds}),
              "");
    return logits;
  };
  const std::vector<float> plain = logits_of(2, 160, false);
  const float most = worst_difference(plain, std::vector<float>(plain.size()));
  for (const size_t n_ranks : {2, 4}) {
    const float worst = worst_difference(logits_of(n_ranks, 160, true), logits_of(n_ranks, 160, false));
    EXPECT_GT(worst, 1e-6f) << n_ranks;
    EXPECT_LT(worst, 0.05f * most) << n_ranks;
  }
  EXPECT_EQ(logits_of(2, 1, true), logits_of(2, 1, false));
}

// Parts of a prompt go behind each other through layers that are several ranks', of several sequences at once.
TEST(Ranks, LongPromptsGoThroughLayersInParts) {
  const fs::path path = golden_fixture("tiny_nemotronh"), plain = golden_fixture("tiny_llama");
  for (const fs::path& model_path : {plain, path}) {
    SCOPED_TRACE(model_path.string());
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 300; ++i) ids.push_back((11 * i + 3) % 61);
    const auto story = [&](const Model& model, Compute& compute) {
      KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), 400);
      Transformer transformer(model, cache, compute);
      const hunch::Run runs[] = {{cache.create(), 90}, {cache.create(), 200}};
      const std::vector<uint32_t> rows = {0, 63, 64, 89, 90, 128, 255, 289};
      std::vector<float> logits;
      append_rows(transformer.run({std::span(ids).first(290), runs, rows}), logits);
      const hunch::Run next[] = {{runs[1].sequence, 1, Phase::kDecode}, {runs[0].sequence, 1, Phase::kDecode}};
      append_rows(transformer.run({std::span(ids).subspan(290, 2), next, std::vector<uint32_t>{0, 1}}), logits);
      return logits;
    };
    Compute compute(1);
    const Model whole(open_model(model_path).file, {}, compute);
    const std::vector<float> want = story(whole, compute);
    const auto expect_same = [&](const Model& model, Compute& own) {
      EXPECT_LE(worst_difference(story(model, own), want), 1e-4f);
    };
    const std::vector<uint32_t> uneven =
        model_path == plain ? std::vector<uint32_t>{1, 1} : std::vector<uint32_t>{1, 2};
    EXPECT_EQ(on_ranks(2, model_path, expect_same, {.by_layers = true, .n_layers = uneven}), "");
    if (model_path == path) {
      EXPECT_EQ(on_ranks(3, model_path, expect_same, {.by_layers = true}), "");
    }
  }
}

// Between the parts of a prompt rank 0 looks; what was computed of it is forgotten everywhere.
TEST(Ranks, AStopEndsAPromptInParts) {
  const fs::path path = golden_fixture("tiny_llama");
  const std::vector<int32_t> ids(300, 3);
  EXPECT_EQ(on_ranks(2, path,
                     [&](const Model& model, Compute& compute) {
                       KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), 400);
                       Transformer transformer(model, cache, compute);
                       const hunch::Run run{cache.create(), ids.size()};
                       const std::vector<uint32_t> row = {10, 299};
                       Stop stop;
                       stop.request();
                       compute.stop = &stop;
                       EXPECT_THROW(transformer.run({ids, {&run, 1}, row}), Error);
                       EXPECT_EQ(cache.n_tokens(run.sequence), 0u);
                       stop.clear();
                       EXPECT_EQ(transformer.run({ids, {&run, 1}, row}).rows, 2u);
                       EXPECT_EQ(cache.n_tokens(run.sequence), ids.size());
                     },
                     {.by_layers = true}),
            "");
}

// Counts what is said.
struct Counting final : Communicator {
  Communicator& ranks;
  size_t n_sums = 0, n_summed = 0, n_gathers = 0, n_broadcasts = 0;
  explicit Counting(Communicator& ranks) : ranks(ranks) {}
  size_t rank() const override { return ranks.rank(); }
  size_t n_ranks() const override { return ranks.n_ranks(); }
  void begin_sum(std::span<float> x) override { ++n_sums, n_summed += x.size(), ranks.begin_sum(x); }
  void finish_sum() override { ranks.finish_sum(); }
  void gather(std::span<const float> own, std::span<const size_t> sizes, std::span<float> all) override {
    ++n_gathers, ranks.gather(own, sizes, all);
  }
  void broadcast(std::span<std::byte> bytes, Wait wait) override { ++n_broadcasts, ranks.broadcast(bytes, wait); }
  void send(size_t to, std::span<const float> x) override { ranks.send(to, x); }
  void receive(size_t from, std::span<float> x) override { ranks.receive(from, x); }
  [[noreturn]] void abort(const std::string& why) override { ranks.abort(why); }
};

// A token costs a broadcast, two sums a layer (one where both branches read the same stream) and a gather.
TEST(Ranks, ATokenCostsTwoSumsALayer) {
  struct Case {
    const char* name;
    size_t per_layer;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"tiny_llama", 2}, {"tiny_mixtral", 2}, {"tiny_opt", 2}, {"tiny_gptneox", 1}, {"tiny_gptj", 1}}) {
    SCOPED_TRACE(c.name);
    Counting* counting = nullptr;
    EXPECT_EQ(on_ranks(
                  2, golden_fixture(c.name),
                  [&](const Model& model, Compute& compute) {
                    KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), kCacheTokens);
                    Transformer transformer(model, cache, compute);
                    const std::vector<int32_t> id = {7};
                    const std::vector<uint32_t> row = {0};
                    const hunch::Run run{cache.create(), 1, Phase::kDecode};
                    transformer.run({id, {&run, 1}, row});
                    const Counting before = *counting;
                    transformer.run({id, {&run, 1}, row});
                    EXPECT_EQ(counting->n_sums - before.n_sums, c.per_layer * model.config().n_layer);
                    EXPECT_EQ(counting->n_summed - before.n_summed,
                              c.per_layer * model.config().n_layer * model.config().n_embd);
                    EXPECT_EQ(counting->n_broadcasts - before.n_broadcasts, 1u);
                    EXPECT_EQ(counting->n_gathers - before.n_gathers, 1u);
                  },
                  {},
                  [&](Communicator& ranks) {
                    auto made = std::make_unique<Counting>(ranks);
                    counting = made.get();
                    return made;
                  }),
              "");
  }
}

TEST(Ranks, LayersThatDoNotAddUpAreNamed) {
  const auto nothing = [](const Model&, Compute&) {};
  for (const std::vector<uint32_t>& n_layers : {std::vector<uint32_t>{1, 2}, {2, 0}, {1, 1, 1}}) {
    try {
      on_ranks(2, golden_fixture("tiny_llama"), nothing, {.by_layers = true, .n_layers = n_layers});
      ADD_FAILURE();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage);
      EXPECT_NE(std::string(e.what()).find(fmt::format("{}", fmt::join(n_layers, ","))), std::string::npos) << e.what();
    }
  }
}

TEST(Ranks, AFullCacheIsAnErrorAsOfOneRankAndNobodyIsTold) {
  const fs::path path = golden_fixture("tiny_llama");
  const std::vector<int32_t> ids(20, 3);
  EXPECT_EQ(on_ranks(2, path,
                     [&](const Model& model, Compute& compute) {
                       KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), 16);
                       Transformer transformer(model, cache, compute);
                       const hunch::Run run{cache.create(), ids.size()};
                       EXPECT_THROW(transformer.run({ids, {&run, 1}, {}}), Error);
                       const hunch::Run less{run.sequence, 8};
                       transformer.run({std::span(ids).first(8), {&less, 1}, {}});
                     }),
            "");
}

TEST(Ranks, ARankThatFailsEndsTheJobForAll) {
  const fs::path path = golden_fixture("tiny_llama");
  const std::vector<int32_t> ids(8, 3);
  std::string leader;
  const std::string others = on_ranks(2, path, [&](const Model& model, Compute& compute) {
    KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), 16);
    Transformer transformer(model, cache, compute);
    const hunch::Run run{cache.create(), ids.size()};
    model.ranks()->outbox().put(Order::kRelease);  // of a cache that nobody has
    model.ranks()->outbox().put(uint32_t{77});
    try {
      transformer.run({ids, {&run, 1}, {}});
    } catch (const Error& e) {
      leader = e.what();
    }
  });
  EXPECT_EQ(leader, "rank 1 of 2: map::at") << leader;
  EXPECT_EQ(others, "map::at");
}

TEST(Ranks, WhatIsNotDividedIsRefusedByName) {
  const fs::path path = golden_fixture("tiny_llama");
  on_ranks(2, path, [&](const Model& model, Compute& compute) {
    KvCache cache(Transformer::kv_shape(model.config(), DType::kF32, 16), 16);
    Transformer transformer(model, cache, compute);
    const std::vector<int32_t> ids = {3, 4};
    const auto expect_refused = [&](const hunch::Run& run, const char* word) {
      try {
        transformer.run({ids, {&run, 1}, {}});
        ADD_FAILURE() << word;
      } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
        EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
      }
      EXPECT_EQ(cache.n_tokens(run.sequence), 0u);
    };
    const KvCache::SequenceId sequence = cache.create();
    const Adapter adapter("some");
    hunch::Run adapted{sequence, 2};
    adapted.adapter = &adapter;
    expect_refused(adapted, "lora");
    Observer observer;
    transformer.observer = &observer;
    expect_refused(hunch::Run{sequence, 2}, "divided among ranks");
  });
}

}  // namespace
}  // namespace hunch
