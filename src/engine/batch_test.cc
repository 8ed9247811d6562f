// Requests that share steps against each of them alone.
#include "engine/batch.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/answer.h"
#include "engine/drafting.h"
#include "engine/ngram_drafter.h"
#include "model/golden_data.h"
#include "select/key_policies.h"

namespace hunch {
namespace {

// Keeps the strongest half of the neurons, as a sidecar's predictor would; counts the tokens that it was asked about.
class HalfOfTheNeurons : public Selector {
 public:
  void choose(Compute&, const Evidence& evidence, std::span<Rows> out) const override {
    for (size_t t = 0; t < out.size(); ++t) {
      const bool odd = evidence.x.row(t)[0] > 0;  // of this token, whoever stands beside it
      std::vector<uint32_t>& rows = out[t].refill(evidence.n_rows);
      for (uint32_t r = odd; r < evidence.n_rows; r += 2) rows.push_back(r);
    }
    n_asked += out.size();
  }
  std::string_view kind() const override { return "half"; }
  mutable size_t n_asked = 0;
};

struct Request {
  std::vector<int32_t> prompt;
  std::shared_ptr<const Plan> plan;
  GenerateOptions options;
  bool drafts = false;
  size_t at_step = 0;  // when it is admitted
};

class BatchTest : public ::testing::Test {
 protected:
  BatchTest() {
    auto half = std::make_shared<Plan>();
    half->name = "half";
    for (size_t l = 0; l < engine_.config().n_layer; ++l) half->set(l, Point::kNeurons, {selector_});
    half_ = half;
  }

  std::vector<int32_t> prompt(size_t seed, size_t n) const {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < n; ++i)
      ids.push_back(int32_t((seed * 7919 + i * i * 31 + i * seed) % engine_.config().n_vocab));
    return ids;
  }

  // Differing in all that may differ.
  std::vector<Request> requests(bool as_alone) const {
    std::vector<Request> all;
    const std::shared_ptr<const Plan> plans[] = {std::make_shared<const Plan>(), engine_.plan_named("exact"), half_};
    for (size_t i = 0; i < 12; ++i) {
      Request r{prompt(i + 1, 3 + i * 5 % 37), plans[i % 3], {}, i % 4 == 3, i * 2 % 9};
      r.options.n_tokens = 8 + i * 3;
      r.options.ignore_end = true;
      r.options.as_alone = as_alone;
      r.options.sampler.temperature = as_alone && i % 2 ? 0.9f : 0.0f;
      if (i % 5 == 2) r.options.sampler.repeat_penalty = 1.2f;
      r.options.sampler.seed = i;
      all.push_back(std::move(r));
    }
    return all;
  }

  struct Result {
    std::vector<int32_t> ids;
    std::vector<float> log_probs;
    std::string error;
  };

  std::vector<Result> run(Batch& batch, const std::vector<Request>& requests) {
    std::vector<std::unique_ptr<Sequence>> sequences;
    std::vector<std::unique_ptr<Speculation>> speculations;
    std::vector<std::shared_ptr<Answer>> answers;
    std::vector<Result> results(requests.size());
    for (const Request& r : requests) sequences.push_back(batch.new_sequence({r.plan}));
    answers.resize(requests.size());
    for (size_t step = 0, n_admitted = 0; n_admitted < requests.size() || batch.n_answers(); ++step) {
      for (size_t i = 0; i < requests.size(); ++i) {
        if (requests[i].at_step != step) continue;
        GenerateOptions options = requests[i].options;
        if (requests[i].drafts) {
          speculations.push_back(std::make_unique<Speculation>(4));
          speculations.back()->add(std::make_unique<NgramDrafter>());
          options.speculation = speculations.back().get();
        }
        answers[i] = batch.admit(*sequences[i], requests[i].prompt, options, [&results, i](const GeneratedToken& t) {
          results[i].log_probs.push_back(t.log_prob);
          return true;
        });
        ++n_admitted;
      }
      batch.step();
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_TRUE(answers[i]->is_done());
      try {
        results[i].ids = answers[i]->generated().ids;
      } catch (const Error& e) {
        results[i].error = e.what();
      }
    }
    return results;
  }

  Result alone(Request request) {
    request.at_step = 0;
    Batch batch(engine_, {.n_tokens = 128});
    return run(batch, {request})[0];
  }

  Engine engine_ =
      load_engine(std::filesystem::path(HUNCH_SOURCE_DIR) / "tests/data/golden/opt_sparse", {.n_threads = 1});
  std::shared_ptr<const HalfOfTheNeurons> selector_ = std::make_shared<HalfOfTheNeurons>();
  std::shared_ptr<const Plan> half_;
};

TEST_F(BatchTest, AnswersAsAloneHaveTheirBitsWhoeverSharesTheirSteps) {
  const std::vector<Request> all = requests(true);
  Batch batch(engine_, {.n_tokens = 2048, .n_sequences = all.size(), .step_tokens = 48});
  const std::vector<Result> together = run(batch, all);
  for (size_t i = 0; i < all.size(); ++i) {
    const Result want = alone(all[i]);
    EXPECT_EQ(together[i].ids, want.ids) << i;
    EXPECT_EQ(together[i].log_probs, want.log_probs) << i;
  }
}

TEST_F(BatchTest, AnswersDoNotDependOnTheirNeighboursButForRounding) {
  const std::vector<Request> all = requests(false);
  Batch batch(engine_, {.n_tokens = 2048, .n_sequences = all.size(), .step_tokens = 48});
  const std::vector<Result> together = run(batch, all);
  for (size_t i = 0; i < all.size(); ++i) {
    const Result want = alone(all[i]);
    EXPECT_EQ(together[i].ids, want.ids) << i;
    ASSERT_EQ(together[i].log_probs.size(), want.log_probs.size());
    for (size_t t = 0; t < want.log_probs.size(); ++t)
      EXPECT_NEAR(together[i].log_probs[t], want.log_probs[t], 1e-3) << i << " " << t;
  }
  EXPECT_GT(selector_->n_asked, 0u);
}

TEST_F(BatchTest, AnswersThatBeginAnewKeepTheirBits) {
  const std::vector<Request> all = requests(true);
  Batch batch(engine_, {.n_tokens = 12 * 96, .n_sequences = 12});
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<std::unique_ptr<Speculation>> speculations;
  std::vector<std::shared_ptr<Answer>> answers;
  std::vector<Result> results(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    sequences.push_back(batch.new_sequence({all[i].plan}));
    GenerateOptions options = all[i].options;
    if (all[i].drafts) {
      speculations.push_back(std::make_unique<Speculation>(4));
      speculations.back()->add(std::make_unique<NgramDrafter>());
      options.speculation = speculations.back().get();
    }
    answers.push_back(batch.admit(*sequences[i], all[i].prompt, options, [&results, i](const GeneratedToken& t) {
      results[i].log_probs.push_back(t.log_prob);
      return true;
    }));
  }
  // In every step one lets go; two steps later it goes on.
  std::vector<std::shared_ptr<Answer>> paused;
  size_t n_anew = 0;
  for (size_t step = 0; batch.step() || !paused.empty(); ++step) {
    if (!paused.empty() && (paused.size() > 2 || step > 90 || batch.n_answers() == 0)) {
      batch.resume(paused.front());
      paused.erase(paused.begin());
    }
    const auto& answer = answers[step * 5 % answers.size()];
    if (step > 90 || answer->is_done() || std::ranges::find(paused, answer) != paused.end()) continue;
    batch.remove(*answer);
    answer->begin_anew();
    EXPECT_EQ(answer->sequence().n_tokens(), 0u);
    paused.push_back(answer);
    ++n_anew;
  }
  EXPECT_GT(n_anew, 40u);
  for (size_t i = 0; i < all.size(); ++i) {
    const Result want = alone(all[i]);
    EXPECT_EQ(answers[i]->generated().ids, want.ids) << i;
    EXPECT_EQ(results[i].log_probs, want.log_probs) << i;
  }
}

TEST_F(BatchTest, DraftsLeaveTheOthersRoomForTheirNextToken) {
  struct Wrong : Drafter {
    const char* name() const override { return "wrong"; }
    double prior(uint8_t) const override { return 0.5; }
    void draft(std::span<const int32_t> text, size_t, size_t n_max, const Pace&, Draft& draft) override {
      draft.ids.assign(n_max, text.back());
      draft.evidence.assign(n_max, 0);
    }
  };
  Batch batch(engine_, {.n_tokens = 96, .n_sequences = 2});  // three pages of 32
  const auto first = batch.new_sequence({}), second = batch.new_sequence({});
  Speculation speculation(16);
  speculation.add(std::make_unique<Wrong>());
  GenerateOptions options;
  options.n_tokens = 40;
  options.ignore_end = true;
  const auto answer_from = [&](Sequence& sequence, size_t n) { return batch.admit(sequence, prompt(1, n), options); };
  options.speculation = &speculation;
  const auto drafting = answer_from(*first, 28);
  options.speculation = nullptr;
  const auto plain = answer_from(*second, 31);
  for (size_t i = 0; i < 3; ++i) batch.step();  // the second gets its second page, which drafts of the first wanted
  EXPECT_FALSE(plain->is_done());
  EXPECT_FALSE(drafting->is_done());
  EXPECT_EQ(second->n_tokens(), 33u);
}

// A long prompt goes on with at least half of each step; who comes after it with a prompt as long waits.
TEST_F(BatchTest, AShortPromptDoesNotWaitForALongOne) {
  Batch batch(engine_, {.n_tokens = 2048, .n_sequences = 4, .step_tokens = 16});
  const auto plan = engine_.plan_named("exact");
  GenerateOptions options;
  options.n_tokens = 4;
  options.ignore_end = true;
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<std::shared_ptr<Answer>> answers;
  const std::vector<size_t> lengths = {110, 100, 10, 10};
  for (const size_t n : lengths) {
    sequences.push_back(batch.new_sequence({plan}));
    answers.push_back(batch.admit(*sequences.back(), prompt(n, n), options));
  }
  for (size_t step = 1; step <= 3; ++step) {
    batch.step();
    EXPECT_GE(sequences[0]->n_tokens(), 8 * step);
    EXPECT_EQ(sequences[1]->n_tokens(), 0u);
  }
  EXPECT_FALSE(answers[2]->is_reading());
  EXPECT_FALSE(answers[3]->is_reading());
  while (batch.step()) {
  }
  for (size_t i = 0; i < answers.size(); ++i) {
    Context alone(engine_, {.n_ctx = 128});
    EXPECT_EQ(answers[i]->generated().ids, generate(alone, prompt(lengths[i], lengths[i]), options).ids) << i;
  }
}

TEST_F(BatchTest, OneOfSixteenIsCancelled) {
  Batch batch(engine_, {.n_tokens = 2048, .n_sequences = 16});
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<std::shared_ptr<Answer>> answers;
  Stop stop;
  for (size_t i = 0; i < 16; ++i) {
    GenerateOptions options;
    options.n_tokens = 20;
    options.ignore_end = true;
    options.sampler.temperature = 0;
    if (i == 5) options.cancel = &stop;
    sequences.push_back(batch.new_sequence({}));
    answers.push_back(batch.admit(*sequences[i], prompt(i, 6), options));
  }
  for (size_t i = 0; i < 4; ++i) batch.step();
  stop.request();
  batch.step();
  EXPECT_TRUE(answers[5]->is_done());
  EXPECT_EQ(batch.n_answers(), 15u);
  const size_t n_free = batch.n_free_tokens();
  sequences[5].reset();
  EXPECT_GT(batch.n_free_tokens(), n_free);
  while (batch.step()) {
  }
  for (size_t i = 0; i < 16; ++i) {
    const Generated& g = answers[i]->generated();
    EXPECT_EQ(g.stop_reason, i == 5 ? StopReason::kInterrupted : StopReason::kLength) << i;
    EXPECT_EQ(g.ids.size(), i == 5 ? 4u : 20u) << i;
  }
}

TEST_F(BatchTest, TheOneWithoutRoomEndsWithItsErrorAndTheOthersGoOn) {
  Batch batch(engine_, {.n_tokens = 96, .n_sequences = 2});  // three pages of 32
  const auto small = batch.new_sequence({}), large = batch.new_sequence({}), late = batch.new_sequence({});
  GenerateOptions options;
  options.n_tokens = 60;
  options.ignore_end = true;
  options.sampler.temperature = 0;
  const auto grows = batch.admit(*large, prompt(1, 60), options);
  options.n_tokens = 20;
  const auto fits = batch.admit(*small, prompt(2, 5), options);
  EXPECT_THROW(batch.admit(*late, prompt(3, 1), options), Error);  // every page is promised
  while (batch.step()) {
  }
  EXPECT_EQ(fits->generated().ids.size(), 20u);
  try {
    grows->generated();
    FAIL() << "there is no page for it";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kLimit);
    EXPECT_NE(std::string(e.what()).find("64 tokens of this sequence"), std::string::npos) << e.what();
  }
}

TEST_F(BatchTest, ACallbackThatThrowsEndsItsAnswerOnly) {
  Batch batch(engine_, {.n_tokens = 256, .n_sequences = 2});
  const auto a = batch.new_sequence({}), b = batch.new_sequence({});
  GenerateOptions options;
  options.n_tokens = 9;
  options.ignore_end = true;
  const auto bad =
      batch.admit(*a, prompt(1, 4), options, [](const GeneratedToken&) -> bool { throw std::bad_alloc(); });
  const auto good = batch.admit(*b, prompt(2, 4), options);
  while (batch.step()) {
  }
  EXPECT_THROW(bad->generated(), std::bad_alloc);
  EXPECT_EQ(good->generated().ids.size(), 9u);
  EXPECT_THROW(batch.admit(*b, {}, options), Error);
  EXPECT_THROW(batch.admit(*b, {int32_t(engine_.config().n_vocab)}, options), Error);
}

TEST_F(BatchTest, AStoppedStepIsTakenAgain) {
  Request decoding{prompt(1, 5), half_, {}, false, 0}, reading{prompt(2, 60), half_, {}, false, 0};
  for (Request* r : {&decoding, &reading}) r->options.n_tokens = 12, r->options.ignore_end = true;
  Batch batch(engine_, {.n_tokens = 256, .n_sequences = 2});
  const auto a = batch.new_sequence({half_}), b = batch.new_sequence({half_});
  const auto first = batch.admit(*a, decoding.prompt, decoding.options);
  batch.step();
  const auto second = batch.admit(*b, reading.prompt, reading.options);
  Stop stop;
  stop.request();
  {
    const StopScope scope(*engine_.compute, &stop);
    EXPECT_THROW(batch.step(), Error);
  }
  EXPECT_EQ(a->n_tokens(), 5u);
  EXPECT_EQ(b->n_tokens(), 0u);
  while (batch.step()) {
  }
  EXPECT_EQ(first->generated().ids, alone(decoding).ids);
  EXPECT_EQ(second->generated().ids, alone(reading).ids);
}

TEST_F(BatchTest, AStopBetweenTwoChunksEndsNoAnswer) {
  Request reading{prompt(1, 100), half_, {}, false, 0};
  reading.options.n_tokens = 12;
  reading.options.ignore_end = true;
  Batch batch(engine_, {.n_tokens = 256, .step_tokens = 40});
  const auto sequence = batch.new_sequence({half_});
  const auto answer = batch.admit(*sequence, reading.prompt, reading.options);
  Stop stop;
  stop.request();
  for (const size_t n_read : {40u, 80u}) {
    batch.step();
    ASSERT_EQ(sequence->n_tokens(), n_read);
    const StopScope scope(*engine_.compute, &stop);
    EXPECT_THROW(batch.step(), Error);
    EXPECT_FALSE(answer->is_done());
    EXPECT_EQ(sequence->n_tokens(), n_read);
  }
  while (batch.step()) {
  }
  EXPECT_EQ(answer->generated().ids, alone(reading).ids);
}

// Its prompt is not cut to fit.
TEST_F(BatchTest, APromptThatMayNotBeCutWaitsForRoom) {
  auto plan = std::make_shared<Plan>();
  plan->set_keys(engine_.config(), key_policy_from("h2o:8"));
  Batch batch(engine_, {.n_tokens = 96, .n_sequences = 2});  // three pages of 32
  GenerateOptions options;
  options.n_tokens = 20;
  options.ignore_end = true;
  options.sampler.temperature = 0;
  const std::vector<int32_t> ids = prompt(3, 60);
  const auto take_two_pages = [&] {
    auto outside = batch.new_sequence({});
    const SequenceRun run{outside.get(), ids};
    batch.compute({&run, 1});
    return outside;
  };
  {
    const auto decoding = batch.new_sequence({}), waiting = batch.new_sequence({plan});
    const auto goes_on = batch.admit(*decoding, prompt(2, 5), options);
    batch.step();
    const auto waits = batch.admit(*waiting, prompt(1, 60), options);
    auto outside = take_two_pages();
    for (size_t i = 0; i < 3; ++i) batch.step();
    EXPECT_EQ(decoding->n_tokens(), 8u);
    EXPECT_EQ(waiting->n_tokens(), 0u);
    outside.reset();
    batch.step();
    EXPECT_EQ(waiting->n_tokens(), 60u);
    while (batch.step()) {
    }
    EXPECT_EQ(goes_on->generated().ids.size(), 20u);
    EXPECT_EQ(waits->generated().ids.size(), 20u);
  }
  const auto waiting = batch.new_sequence({plan});
  const auto waits = batch.admit(*waiting, prompt(1, 60), options);
  const auto outside = take_two_pages();
  EXPECT_FALSE(batch.step()) << "nobody can make room";
  try {
    waits->generated();
    FAIL() << "there is no room for it";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kLimit);
    EXPECT_NE(std::string(e.what()).find("60 of a prompt are unread, 32 are free"), std::string::npos) << e.what();
  }
}

// However a prompt is cut, none of its tokens counts as decoding; each token of the answer but the first does, once in
// every layer.
TEST_F(BatchTest, NoTokenOfAPromptIsDecodedSparsely) {
  const Engine engine =
      load_engine(std::filesystem::path(HUNCH_SOURCE_DIR) / "tests/data/golden/llama_mha", {.n_threads = 1});
  Plan plan;
  for (size_t l = 0; l < engine.config().n_layer; ++l) plan.set(l, Point::kNeurons, {selector_});
  const auto shared = std::make_shared<const Plan>(plan);
  for (size_t n = 513; n <= 516; ++n) {
    Batch batch(engine, {.n_tokens = 640});
    const auto sequence = batch.new_sequence({.plan = shared, .n_ctx = 600});
    std::vector<int32_t> ids(n);
    for (size_t i = 0; i < n; ++i) ids[i] = int32_t(i * 13 % engine.config().n_vocab);
    GenerateOptions options;
    options.n_tokens = 3;
    options.ignore_end = true;
    selector_->n_asked = 0;
    const auto answer = batch.admit(*sequence, ids, options);
    while (!answer->is_done()) {
      batch.step();
      if (sequence->n_tokens() <= n) {
        EXPECT_EQ(selector_->n_asked, 0u) << n;
      }
    }
    EXPECT_EQ(selector_->n_asked, 2 * engine.config().n_layer) << n;
  }
}

}  // namespace
}  // namespace hunch
