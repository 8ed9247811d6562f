// Models whose layers keep states: what was answered is gone on from, in the same server and in one of a later day.
#include <gtest/gtest.h>

#include <filesystem>
#include <future>

#include "base/test_paths.h"
#include "serve/scheduler.h"

namespace hunch::serve {
namespace {

using Ids = std::vector<int32_t>;

class Heard : public JobListener {
 public:
  void on_begun(size_t n) override { n_cached = n; }
  void on_done(const JobResult& result) override { done.set_value(result.generated.ids); }
  void on_error(std::exception_ptr error) override { done.set_exception(error); }
  size_t n_cached = 0;
  std::promise<Ids> done;
};

class SchedulerRecurrentTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Ids prompt(size_t seed, size_t n) const {
    Ids ids;
    for (size_t i = 0; i < n; ++i) ids.push_back(int32_t((seed * 7919 + i * i * 31) % engine_.config().n_vocab));
    return ids;
  }
  struct Said {
    Ids ids;
    size_t n_cached;
  };
  Said ask(Scheduler& scheduler, const Ids& prompt, bool reuses = true) {
    const auto heard = std::make_shared<Heard>();
    const auto job = std::make_shared<Job>();
    job->prompt = prompt;
    job->plan = plan_;
    job->options.n_tokens = 12;
    job->options.sampler.temperature = 0;
    job->options.ignore_end = true;
    job->reuses_prompt = reuses;
    job->listener = heard;
    scheduler.submit({job});
    Ids ids = heard->done.get_future().get();
    return {std::move(ids), heard->n_cached};
  }

  const std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) / (std::string("scheduler_recurrent_") + GetParam());
  Engine engine_ =
      load_engine(std::filesystem::path(HUNCH_SOURCE_DIR) / "tests/data/golden" / GetParam(), {.n_threads = 1});
  std::shared_ptr<const Plan> plan_ = engine_.plan_named("dense");
  Metrics metrics_;
};

TEST_P(SchedulerRecurrentTest, TextsOutliveTheServer) {
  const SchedulerOptions options{.n_parallel = 2, .n_ctx = 256, .disk_folder = folder_};
  const Ids first = prompt(1, 80);
  Ids answer;
  {
    Scheduler scheduler(engine_, options, metrics_);
    answer = ask(scheduler, first).ids;
  }
  // The conversation goes on; another one leaves the answer out; a third begins alike and leaves the prompt early.
  Ids turn = first, other = first, early(first.begin(), first.begin() + 40);
  turn.insert(turn.end(), answer.begin(), answer.end());
  for (Ids* ids : {&turn, &other, &early}) {
    const Ids more = prompt(ids == &turn ? 7 : ids == &other ? 8 : 9, 30);
    ids->insert(ids->end(), more.begin(), more.end());
  }
  Scheduler scheduler(engine_, options, metrics_);
  const Said on = ask(scheduler, turn), beside = ask(scheduler, other), far = ask(scheduler, early);
  EXPECT_GE(on.n_cached, 80u);
  EXPECT_LE(on.n_cached, 80u + answer.size());
  EXPECT_EQ(beside.n_cached, 80u);
  EXPECT_EQ(far.n_cached, 0u) << "no state is kept there";
  EXPECT_EQ(on.ids, ask(scheduler, turn, false).ids);
  EXPECT_EQ(beside.ids, ask(scheduler, other, false).ids);
  EXPECT_EQ(far.ids, ask(scheduler, early, false).ids);
}

INSTANTIATE_TEST_SUITE_P(Models, SchedulerRecurrentTest,
                         ::testing::Values("tiny_lfm2", "tiny_qwen3next", "tiny_nemotronh"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace hunch::serve
