// Whole answers of models that are divided among ranks, which are threads here.
#include "engine/ranks.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/context.h"
#include "engine/generate.h"
#include "engine/test_followers.h"
#include "model/test_steps.h"

namespace hunch {
namespace {

std::vector<int32_t> answer_of(const Engine& engine, std::vector<int32_t> prompt) {
  Context context(engine, {.n_ctx = 48});
  GenerateOptions options;
  options.n_tokens = 12;
  options.ignore_end = true;
  options.sampler.temperature = 0;
  return generate(context, prompt, options).ids;
}

const std::vector<int32_t> kPrompt = {5, 9, 33, 2, 17, 40, 8, 21, 6, 30};

TEST(EngineRanks, AnswersAreThoseOfOneProcess) {
  for (const char* name : {"tiny_llama", "tiny_opt", "tiny_mixtral", "tiny_nemotronh", "tiny_deepseek3"}) {
    SCOPED_TRACE(name);
    const Engine whole = load_engine(golden_fixture(name), {.n_threads = 1});
    const std::vector<int32_t> want = answer_of(whole, kPrompt);
    for (const bool by_layers : {false, true})
      EXPECT_EQ(with_followers(2,
                               [&](Ranks& ranks) {
                                 ranks.division.by_layers = by_layers;
                                 const Engine engine =
                                     load_engine(golden_fixture(name), {.n_threads = 1, .ranks = &ranks});
                                 EXPECT_EQ(answer_of(engine, kPrompt), want) << by_layers;
                               }),
                "");
  }
}

TEST(EngineRanks, OneModelAfterTheOtherAndNotTwo) {
  EXPECT_EQ(with_followers(
                2,
                [&](Ranks& ranks) {
                  for (const char* name : {"tiny_llama", "tiny_opt"}) {
                    const Engine engine = load_engine(golden_fixture(name), {.n_threads = 1, .ranks = &ranks});
                    answer_of(engine, kPrompt);
                    EXPECT_THROW(load_engine(golden_fixture(name), {.n_threads = 1, .ranks = &ranks}), Error);
                  }
                  EXPECT_THROW(load_engine("/no/such/model", {.n_threads = 1, .ranks = &ranks}), Error);
                  const Engine engine = load_engine(golden_fixture("tiny_llama"), {.n_threads = 1, .ranks = &ranks});
                  EXPECT_EQ(answer_of(engine, kPrompt).size(), 12u);
                }),
            "");
}

TEST(EngineRanks, OptionsThatAreNotDividedAreRefusedByName) {
  EXPECT_EQ(with_followers(2,
                           [&](Ranks& ranks) {
                             const auto expect_refused = [&](EngineOptions options, const char* word) {
                               options.ranks = &ranks;
                               try {
                                 load_engine(golden_fixture("tiny_llama"), options);
                                 ADD_FAILURE() << word;
                               } catch (const Error& e) {
                                 EXPECT_EQ(e.kind(), ErrorKind::kUnsupported);
                                 EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
                               }
                             };
                             expect_refused({.weight_memory = 1}, "(ram)");
                             expect_refused({.device = {.name = "vulkan:0"}}, "(device)");
                           }),
            "");
}

// Another rank does not find the model: the job ends, and says who and why.
TEST(EngineRanks, ARankThatCannotOpenTheModelEndsTheJob) {
  std::string error;
  const std::string others = with_followers(
      2,
      [&](Ranks& ranks) {
        try {
          OnOtherRanks loaded(ranks, "/no/such/model", {.n_threads = 1});
          on_all_ranks(ranks, [] {});
          std::byte byte{};
          ranks.communicator().broadcast({&byte, 1}, Wait::kBusy);
        } catch (const Error& e) {
          error = e.what();
        }
      },
      5);
  EXPECT_NE(error.find("rank 1 of 2"), std::string::npos) << error;
}

}  // namespace
}  // namespace hunch
