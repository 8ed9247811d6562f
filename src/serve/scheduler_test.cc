// Jobs that come and go as they like, against each of them alone.
#include "serve/scheduler.h"

#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <random>

#include "base/error.h"
#include "engine/beam_search.h"
#include "serve/request_error.h"

namespace hunch::serve {
namespace {

using Ids = std::vector<int32_t>;

class Recorder : public JobListener {
 public:
  void on_wait() override { ++n_waits; }
  void on_begun(size_t n) override { n_cached = n; }
  void on_prompt(std::vector<ScoredToken> tokens) override { scored = std::move(tokens); }
  void on_token(const GeneratedToken& token, bool ends) override {
    if (ends) return;
    std::this_thread::sleep_for(pause);
    ids.push_back(token.id);
    if (ids.size() == 1) first_.set_value();
  }
  void on_done(const JobResult& result_) override {
    result = result_;
    done_.set_value();
  }
  void on_error(std::exception_ptr error) override { done_.set_exception(error); }

  // Throws what ended it.
  void wait() { done_.get_future().get(); }
  void wait_for_first() { first_.get_future().get(); }

  Ids ids;
  std::vector<ScoredToken> scored;
  JobResult result;
  size_t n_cached = 0, n_waits = 0;
  std::chrono::milliseconds pause{0};  // before each token: the answer is still in the making when others are asked for

 private:
  std::promise<void> done_, first_;
};

struct Asked {
  std::shared_ptr<Job> job;
  std::shared_ptr<Recorder> recorder;
};

class SchedulerTest : public ::testing::Test {
 protected:
  Ids prompt(size_t seed, size_t n) const {
    Ids ids;
    for (size_t i = 0; i < n; ++i)
      ids.push_back(int32_t((seed * 7919 + i * i * 31 + i * seed) % engine_.config().n_vocab));
    return ids;
  }
  Asked ask(Ids prompt, size_t n_tokens) const {
    Asked a{std::make_shared<Job>(), std::make_shared<Recorder>()};
    a.job->prompt = std::move(prompt);
    a.job->plan = plan_;
    a.job->options.n_tokens = n_tokens;
    a.job->options.sampler.temperature = 0;
    a.job->options.ignore_end = true;
    a.job->options.as_alone = true;
    a.job->options.log_probs = false;
    a.job->listener = a.recorder;
    return a;
  }
  // What hunch run makes of it; on an engine of its own, as the scheduler has the other.
  Generated alone(const Job& job) const {
    Context context(engine_alone_, {.n_ctx = 128});
    GenerateOptions options = job.options;
    return generate(context, job.prompt, options);
  }

  size_t bytes_per_token() const {
    return KvCache::bytes_per_token(Transformer::kv_shape(engine_.config(), DType::kF32));
  }

  static Engine open() {
    return load_engine(std::filesystem::path(HUNCH_SOURCE_DIR) / "tests/data/golden/opt_sparse", {.n_threads = 1});
  }
  Engine engine_ = open(), engine_alone_ = open();
  std::shared_ptr<const Plan> plan_ = engine_.plan_named("exact");
  Metrics metrics_;
};

TEST_F(SchedulerTest, AnyScheduleGivesEveryJobTheTokensThatItHasAlone) {
  for (size_t seed = 0; seed < 16; ++seed) {
    std::mt19937 rng(uint32_t(seed + 1));
    const auto pick = [&](size_t n) { return size_t(rng() % n); };
    // Sometimes the cache holds hardly more than one context: answers make room for each other.
    const uint64_t kv_bytes = pick(2) * (128 + 32 * pick(4)) * bytes_per_token();
    Scheduler scheduler(
        engine_,
        {.n_parallel = 1 + pick(5), .n_ctx = 128, .kv_bytes = kv_bytes, .n_queue = 100, .step_tokens = 16 + pick(48)},
        metrics_);
    std::vector<Asked> all;
    std::vector<bool> cancelled;
    for (size_t i = 0; i < 24; ++i) {
      Ids ids = prompt(1 + pick(3), 2 + pick(40));
      if (i && pick(3) == 0) {  // the next turn of an earlier text
        ids = all[pick(i)].job->prompt;
        const Ids more = prompt(9, 1 + pick(9));
        ids.insert(ids.end(), more.begin(), more.end());
      }
      ids.resize(std::min<size_t>(ids.size(), 90));
      all.push_back(ask(std::move(ids), 1 + pick(30)));
      Job& job = *all.back().job;
      if (pick(3) == 0) {
        job.options.sampler.temperature = 1;
        job.options.sampler.seed = i;
      }
      if (pick(3) == 0) job.options.sampler.frequency_penalty = 0.5f;
      job.drafts = pick(4) == 0;
      job.scores_prompt = pick(6) == 0;
      job.priority = int(pick(3));
      job.client = std::string(1, char('a' + pick(3)));
      cancelled.push_back(pick(5) == 0);
      scheduler.submit({all.back().job});
      if (pick(4) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(pick(6)));
      if (cancelled.back()) job.cancel.request();
    }
    for (size_t i = 0; i < all.size(); ++i) {
      const Generated want = alone(*all[i].job);
      if (cancelled[i]) {  // what there is of it is a beginning
        try {
          all[i].recorder->wait();
        } catch (const RequestError&) {
        }
        ASSERT_LE(all[i].recorder->ids.size(), want.ids.size());
        EXPECT_TRUE(std::equal(all[i].recorder->ids.begin(), all[i].recorder->ids.end(), want.ids.begin())) << i;
        continue;
      }
      all[i].recorder->wait();
      EXPECT_EQ(all[i].recorder->ids, want.ids) << "schedule " << seed << ", job " << i;
      EXPECT_EQ(all[i].recorder->result.generated.n_prompt, all[i].job->prompt.size());
    }
    EXPECT_TRUE(scheduler.wait_until_idle(10));
    EXPECT_EQ(metrics_.n_running, 0u);
    EXPECT_EQ(metrics_.n_waiting, 0u);
    EXPECT_EQ(metrics_.n_paused, 0u);
  }
  EXPECT_GT(metrics_.n_preempted, 0u);
}

TEST_F(SchedulerTest, AnswersThatOutgrowTheCacheMakeRoomForEachOther) {
  Scheduler scheduler(engine_, {.n_parallel = 4, .n_ctx = 128, .kv_bytes = 160 * bytes_per_token()}, metrics_);
  std::vector<Asked> all;
  for (size_t i = 0; i < 6; ++i) {
    all.push_back(ask(prompt(i + 1, 20), 100));
    all.back().job->plan = i % 2 ? plan_ : engine_.plan_named("dense");
    all.back().job->options.sampler.temperature = 1;
    all.back().job->options.sampler.seed = i;
    all.back().job->drafts = i % 3 == 0;
    scheduler.submit({all.back().job});
  }
  for (Asked& a : all) {
    a.recorder->wait();
    EXPECT_EQ(a.recorder->ids, alone(*a.job).ids);
  }
  EXPECT_GT(metrics_.n_preempted, 2u);
  EXPECT_THROW(Scheduler(engine_, {.n_ctx = 128, .kv_bytes = 100 * bytes_per_token()}, metrics_), Error);
}

TEST_F(SchedulerTest, BeamsMakeRoomAndAreTheSameBesideOthers) {
  Scheduler scheduler(engine_, {.n_parallel = 4, .n_ctx = 128, .kv_bytes = 352 * bytes_per_token()}, metrics_);
  std::vector<Asked> others;
  std::vector<Asked> beams;
  const auto submit_other = [&](size_t i) {
    others.push_back(ask(prompt(i + 1, 20), 100));
    scheduler.submit({others.back().job});
  };
  submit_other(0);
  for (size_t i = 0; i < 3; ++i) {
    beams.push_back(ask(prompt(40, 30), 50));
    beams.back().job->is_sibling = i > 0;
  }
  beams[0].job->beams = Job::Beams{3, 1, {beams[1].job, beams[2].job}};
  scheduler.submit({beams[0].job});
  for (size_t i = 1; i < 4; ++i) submit_other(i);
  for (Asked& a : others) {
    a.recorder->wait();
    EXPECT_EQ(a.recorder->ids, alone(*a.job).ids);
  }
  Batch batch(engine_alone_, {.n_tokens = 512});
  const auto sequence = batch.new_sequence({.plan = engine_alone_.plan_named("exact"), .n_ctx = 128});
  BeamSearch search(engine_alone_, batch, *sequence, beams[0].job->prompt,
                    {.width = 3, .n_tokens = 50, .ignore_end = true, .as_alone = true});
  while (search.step(100)) {
  }
  const std::vector<Beam> want = search.best(3);
  for (size_t i = 0; i < 3; ++i) {
    beams[i].recorder->wait();
    EXPECT_EQ(beams[i].recorder->ids, want[i].ids) << i;
    EXPECT_EQ(beams[i].recorder->result.generated.ids, want[i].ids);
  }
  EXPECT_GT(metrics_.n_preempted, 0u);
  // One that is cancelled is told of what it has, or that it has nothing.
  Asked gone = ask(prompt(41, 60), 60);
  gone.job->beams = Job::Beams{4, 1, {}};
  gone.job->cancel.request();
  scheduler.submit({gone.job});
  EXPECT_THROW(gone.recorder->wait(), RequestError);
  EXPECT_TRUE(scheduler.wait_until_idle(10));
}

TEST_F(SchedulerTest, TextsOutliveTheServer) {
  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "scheduler_test_texts";
  std::filesystem::remove_all(folder);
  const SchedulerOptions options{.n_parallel = 2, .n_ctx = 128, .disk_folder = folder};
  const auto asked = [&](Ids ids) {
    Asked a = ask(std::move(ids), 10);
    a.job->options.as_alone = false;
    return a;
  };
  {
    Scheduler scheduler(engine_, options, metrics_);
    Asked first = asked(prompt(1, 80));
    scheduler.submit({first.job});
    first.recorder->wait();
  }
  Scheduler scheduler(engine_, options, metrics_);
  Ids ids = prompt(1, 80);
  ids.push_back(5);
  Asked second = asked(ids), other = asked(prompt(2, 80));
  scheduler.submit({second.job, other.job});
  second.recorder->wait();
  other.recorder->wait();
  EXPECT_EQ(second.recorder->n_cached, 80u);
  EXPECT_EQ(second.recorder->ids, alone(*second.job).ids);
  EXPECT_EQ(other.recorder->n_cached, 0u);
  std::filesystem::remove_all(folder);
}

TEST_F(SchedulerTest, OthersGoOnWhileATextIsReadFromTheDisk) {
  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "scheduler_test_reading";
  std::filesystem::remove_all(folder);
  SchedulerOptions options{.n_parallel = 2, .n_ctx = 128, .disk_folder = folder};
  const auto asked = [&](Ids ids) {
    Asked a = ask(std::move(ids), 10);
    a.job->options.as_alone = false;
    return a;
  };
  {
    Scheduler scheduler(engine_, options, metrics_);
    Asked first = asked(prompt(1, 80));
    scheduler.submit({first.job});
    first.recorder->wait();
  }
  std::promise<void> go;
  options.before_reading = [wait = go.get_future().share()] { wait.wait(); };
  Scheduler scheduler(engine_, options, metrics_);
  Ids ids = prompt(1, 80);
  ids.push_back(5);
  Asked reads = asked(ids), leaves = asked(ids), other = asked(prompt(2, 80));
  scheduler.submit({reads.job, leaves.job, other.job});
  other.recorder->wait();
  EXPECT_TRUE(reads.recorder->ids.empty());
  leaves.job->cancel.request();
  EXPECT_THROW(leaves.recorder->wait(), RequestError);
  go.set_value();
  reads.recorder->wait();
  EXPECT_EQ(reads.recorder->n_cached, 80u);
  EXPECT_EQ(reads.recorder->ids, alone(*reads.job).ids);
  EXPECT_TRUE(scheduler.wait_until_idle(10));
  std::filesystem::remove_all(folder);
}

TEST_F(SchedulerTest, ALongPromptDoesNotStallTheOthers) {
  // The tokens of each step, on a machine that takes as long for eight tokens as for one.
  const auto seconds = [](size_t n) { return std::max(1.0, double(n) / 8); };
  std::mutex mutex;
  std::vector<Batch::StepTokens> steps;
  SchedulerOptions options{.n_parallel = 4, .n_ctx = 128, .step_tokens = 96};
  options.step_seconds = [&](const Batch::StepTokens& t) {
    const std::lock_guard lock(mutex);
    steps.push_back(t);
    return seconds(t.n_decoding + t.n_prompt);
  };
  Scheduler scheduler(engine_, options, metrics_);
  std::vector<Asked> all;
  for (size_t i = 0; i < 3; ++i) all.push_back(ask(prompt(i + 1, 5), 120));
  for (size_t i = 0; i < 5; ++i) all.push_back(ask(prompt(i + 20, 100), 1));  // one after the other: there is one place
  std::vector<std::shared_ptr<Job>> jobs;
  for (const Asked& a : all) jobs.push_back(a.job);
  scheduler.submit(jobs);  // at once: what follows does not depend on how fast this thread is
  for (const Asked& a : all) a.recorder->wait();
  size_t n_mixed = 0, n_long = 0, n_prompt = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto [n_decoding, n_read] = steps[i];
    n_prompt += n_read;
    if (n_decoding == 0 || n_read == 0) continue;
    ++n_mixed;
    EXPECT_LE(n_read, StepBudget::kAtFirst);
    n_long += n_read > 5;  // of the long prompts; the first of them teaches
    if (n_long > 1) {
      EXPECT_LE(seconds(n_decoding + n_read), 3 * seconds(n_decoding)) << n_read;
    }
  }
  EXPECT_EQ(n_prompt, 3u * 5 + 5 * 100);
  EXPECT_GT(n_mixed, 20u);
  for (const Asked& a : all) EXPECT_EQ(a.recorder->ids, alone(*a.job).ids);
}

TEST_F(SchedulerTest, WhoWaitsIsTold) {
  Scheduler scheduler(engine_, {.n_parallel = 1, .n_ctx = 128, .tell_seconds = 0}, metrics_);
  Asked first = ask(prompt(1, 5), 20), second = ask(prompt(2, 5), 1);
  scheduler.submit({first.job});
  scheduler.submit({second.job});
  first.recorder->wait();
  second.recorder->wait();
  EXPECT_GT(second.recorder->n_waits, 5u);  // a time for each step of the first
  EXPECT_LT(first.recorder->n_waits, 3u);
}

TEST_F(SchedulerTest, PrioritiesComeFirstAndClientsTakeTurns) {
  Scheduler scheduler(engine_, {.n_parallel = 2, .n_ctx = 128}, metrics_);
  // Two of one client run; then more of it wait, one of another, and one that is urgent.
  const std::vector<std::pair<const char*, int>> wanted = {{"a", 0}, {"a", 0}, {"a", 0}, {"a", 0}, {"b", 0}, {"c", -1}};
  std::vector<Asked> all;
  for (size_t i = 0; i < wanted.size(); ++i) {
    all.push_back(ask(prompt(i + 1, 5), i == 0 ? 40 : i == 1 ? 100 : 4));
    all.back().job->client = wanted[i].first;
    all.back().job->priority = wanted[i].second;
    all.back().recorder->pause = std::chrono::milliseconds(i < 2 ? 4 : 0);
    scheduler.submit({all.back().job});
    if (i < 2) all.back().recorder->wait_for_first();
  }
  for (Asked& a : all) a.recorder->wait();
  const auto waited = [&](size_t i) { return all[i].recorder->result.queue_seconds; };
  EXPECT_LT(waited(5), waited(4)) << "the urgent one";
  EXPECT_LT(waited(4), waited(2)) << "the client of whom none is in the making";
  EXPECT_LT(waited(2), waited(3));
}

TEST_F(SchedulerTest, DeadlinesEndAnswersWithWhatTheyHave) {
  Scheduler scheduler(engine_, {.n_parallel = 1, .n_ctx = 128}, metrics_);
  Asked running = ask(prompt(1, 5), 120), waiting = ask(prompt(2, 5), 1);
  running.recorder->pause = std::chrono::milliseconds(5);
  running.job->deadline = Clock::now() + std::chrono::milliseconds(200);
  waiting.job->deadline = Clock::now() + std::chrono::milliseconds(50);
  scheduler.submit({running.job});
  running.recorder->wait_for_first();
  scheduler.submit({waiting.job});
  try {
    waiting.recorder->wait();
    FAIL() << "it began too late";
  } catch (const RequestError& e) {
    EXPECT_EQ(e.status(), 504);
  }
  running.recorder->wait();
  EXPECT_GT(running.recorder->ids.size(), 1u);
  EXPECT_LT(running.recorder->ids.size(), 120u);
  EXPECT_EQ(running.recorder->result.generated.stop_reason, StopReason::kInterrupted);
}

TEST_F(SchedulerTest, TheNextTurnOfATextIsReadFromWhereTheLastOneEnded) {
  Scheduler scheduler(engine_, {.n_parallel = 2, .n_ctx = 128}, metrics_);
  Asked first = ask(prompt(1, 30), 5);
  first.job->options.as_alone = false;
  scheduler.submit({first.job});
  first.recorder->wait();
  EXPECT_EQ(first.recorder->n_cached, 0u);
  Ids ids = first.job->prompt;
  ids.insert(ids.end(), first.recorder->ids.begin(), first.recorder->ids.end());
  const Ids question = prompt(5, 7);
  ids.insert(ids.end(), question.begin(), question.end());
  Asked second = ask(ids, 5);
  second.job->options.as_alone = false;
  scheduler.submit({second.job});
  second.recorder->wait();
  EXPECT_EQ(second.recorder->n_cached, 34u);  // all but the last token, which nobody had to read
  EXPECT_EQ(second.recorder->ids, alone(*second.job).ids);
  // A text that was never seen, and the same again where it is not wanted.
  Asked other = ask(prompt(2, 30), 5), unwanted = ask(ids, 5);
  unwanted.job->options.as_alone = false;
  unwanted.job->reuses_prompt = false;
  scheduler.submit({other.job, unwanted.job});
  other.recorder->wait();
  unwanted.recorder->wait();
  EXPECT_EQ(other.recorder->n_cached, 0u);
  EXPECT_EQ(unwanted.recorder->n_cached, 0u);
}

TEST_F(SchedulerTest, PromptsThatBeginAlikeAreReadOnce) {
  Scheduler scheduler(engine_, {.n_parallel = 4, .n_ctx = 128}, metrics_);
  std::vector<Asked> all;
  std::vector<std::shared_ptr<Job>> jobs;
  for (size_t i = 0; i < 6; ++i) {
    Ids ids = prompt(1, 70);
    if (i == 3) ids = prompt(2, 70);  // another text
    if (i > 3) ids.push_back(int32_t(i));
    all.push_back(ask(ids, 12));
    all.back().job->options.sampler.temperature = 1;
    all.back().job->options.sampler.seed = i;
    jobs.push_back(all.back().job);
  }
  scheduler.submit(jobs);
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].recorder->wait();
    EXPECT_EQ(all[i].recorder->ids, alone(*all[i].job).ids) << i;
    EXPECT_EQ(all[i].recorder->n_cached, i == 0 || i == 3 ? 0u : i < 3 ? 69u : 70u) << i;
  }
  // A remembered text is not lost to one that shares its beginning only.
  Ids ids = prompt(2, 40);
  ids.push_back(1);
  Asked part = ask(ids, 4), again = ask(prompt(2, 70), 4);
  scheduler.submit({part.job, again.job});
  part.recorder->wait();
  again.recorder->wait();
  EXPECT_EQ(part.recorder->n_cached, 40u);
  EXPECT_EQ(again.recorder->n_cached, 69u);
}

TEST_F(SchedulerTest, WhatIsKeptMakesRoomForWhatComes) {
  Scheduler scheduler(engine_, {.n_parallel = 2, .n_ctx = 64}, metrics_);
  for (size_t i = 0; i < 12; ++i) {
    Asked a = ask(prompt(i + 1, 40), 24), b = ask(prompt(i + 50, 50), 14);
    scheduler.submit({a.job, b.job});
    a.recorder->wait();
    b.recorder->wait();
    EXPECT_EQ(a.recorder->ids.size(), 24u);
    EXPECT_EQ(b.recorder->ids.size(), 14u);
  }
}

TEST_F(SchedulerTest, AFullQueueRefuses) {
  Scheduler scheduler(engine_, {.n_parallel = 1, .n_ctx = 128, .n_queue = 2}, metrics_);
  std::vector<Asked> all;
  all.push_back(ask(prompt(1, 5), 120));
  all.back().recorder->pause = std::chrono::milliseconds(5);
  scheduler.submit({all.back().job});
  all.back().recorder->wait_for_first();
  for (size_t i = 0; i < 2; ++i) {
    all.push_back(ask(prompt(2, 5), 1));
    scheduler.submit({all.back().job});
  }
  try {
    scheduler.submit({ask(prompt(3, 5), 1).job});
    FAIL() << "the third that waits was taken";
  } catch (const RequestError& e) {
    EXPECT_EQ(e.status(), 429);
  }
  for (Asked& a : all) a.recorder->wait();
  EXPECT_EQ(metrics_.n_refused, 1u);
}

TEST_F(SchedulerTest, DrainingLetsWhatRunsEndAndRefusesTheRest) {
  Scheduler scheduler(engine_, {.n_parallel = 1, .n_ctx = 128}, metrics_);
  Asked running = ask(prompt(1, 5), 60), waiting = ask(prompt(2, 5), 60);
  running.recorder->pause = std::chrono::milliseconds(5);
  scheduler.submit({running.job});
  running.recorder->wait_for_first();
  scheduler.submit({waiting.job});
  scheduler.drain();
  EXPECT_THROW(scheduler.submit({ask(prompt(3, 5), 1).job}), RequestError);
  EXPECT_THROW(waiting.recorder->wait(), RequestError);
  running.recorder->wait();
  EXPECT_EQ(running.recorder->ids.size(), 60u);
  EXPECT_TRUE(scheduler.wait_until_idle(10));
}

TEST_F(SchedulerTest, StoppingEndsWhatRuns) {
  Asked running = ask(prompt(1, 5), 100);
  running.recorder->pause = std::chrono::milliseconds(5);
  {
    Scheduler scheduler(engine_, {.n_parallel = 1, .n_ctx = 128}, metrics_);
    scheduler.submit({running.job});
    running.recorder->wait_for_first();
  }
  EXPECT_THROW(running.recorder->wait(), RequestError);
}

TEST_F(SchedulerTest, PromptsAreScored) {
  Scheduler scheduler(engine_, {.n_parallel = 2, .n_ctx = 128}, metrics_);
  Asked a = ask(prompt(1, 70), 0);
  a.job->scores_prompt = true;
  a.job->options.log_probs = true;
  a.job->options.n_top_log_probs = 2;
  scheduler.submit({a.job});
  a.recorder->wait();
  ASSERT_EQ(a.recorder->scored.size(), 69u);
  EXPECT_TRUE(a.recorder->ids.empty());
  Context context(engine_alone_, {.n_ctx = 128});
  size_t n_seen = 0;
  context.append_all(a.job->prompt, [&](size_t first, MatView<const float> logits) {
    for (size_t i = 0; i < logits.rows && first + i + 1 < a.job->prompt.size(); ++i, ++n_seen) {
      const ScoredToken& got = a.recorder->scored[first + i];
      EXPECT_EQ(got.id, a.job->prompt[first + i + 1]);
      EXPECT_NEAR(got.log_prob, log_prob(logits.row(i), got.id), 1e-4);
      EXPECT_EQ(got.top[0].id, top_log_probs(logits.row(i), 1)[0].id);
    }
  });
  EXPECT_EQ(n_seen, 69u);
}

TEST_F(SchedulerTest, WhatCannotBeMeantIsRefused) {
  Scheduler scheduler(engine_, {.n_parallel = 1, .n_ctx = 64}, metrics_);
  EXPECT_THROW(scheduler.submit({ask({}, 1).job}), RequestError);
  EXPECT_THROW(scheduler.submit({ask({1 << 20}, 1).job}), RequestError);
  EXPECT_THROW(scheduler.submit({ask({-1}, 1).job}), RequestError);
  EXPECT_THROW(scheduler.submit({ask(prompt(1, 65), 1).job}), RequestError);
  Asked whole = ask(prompt(1, 64), 5);
  scheduler.submit({whole.job});
  whole.recorder->wait();
  EXPECT_EQ(whole.recorder->result.generated.stop_reason, StopReason::kContextFull);
}

TEST_F(SchedulerTest, TasksRunBetweenSteps) {
  Scheduler scheduler(engine_, {.n_parallel = 1, .n_ctx = 128}, metrics_);
  Asked a = ask(prompt(1, 5), 60);
  scheduler.submit({a.job});
  std::atomic<size_t> n_calls{0};
  std::promise<void> done;
  scheduler.submit(Scheduler::Task{[&] {
    if (++n_calls < 5) return true;
    done.set_value();
    return false;
  }});
  done.get_future().get();
  a.recorder->wait();
  EXPECT_EQ(n_calls, 5u);
  EXPECT_EQ(a.recorder->ids, alone(*a.job).ids);
}

}  // namespace
}  // namespace hunch::serve
