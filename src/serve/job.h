// One answer to be made: what is asked for, who is told of it, and its turn to end early.
#pragma once
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/stop.h"
#include "engine/generate.h"

namespace hunch::serve {

using Clock = std::chrono::steady_clock;

inline double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// A token of the prompt, given those before it.
struct ScoredToken {
  int32_t id = 0;
  float log_prob = 0;
  std::vector<TokenProbability> top = {};
};

// A done answer.
struct JobResult {
  Generated generated = {};                           // n_prompt is that of the whole prompt
  double queue_seconds = 0, first_token_seconds = 0;  // since it was submitted
};

// Told by the scheduler's thread, which should not wait for it. None of these may throw.
class JobListener {
 public:
  virtual ~JobListener() = default;
  // It waits, or its prompt is still being read: every SchedulerOptions::tell_seconds.
  virtual void on_wait() {}
  // It has its turn; so many tokens of its prompt were remembered.
  virtual void on_begun(size_t n_cached) {}
  // The prompt's tokens after the first, where they were asked for; before any token.
  virtual void on_prompt(std::vector<ScoredToken> tokens) {}
  // `ends`: text that was held back, with no token of its own.
  virtual void on_token(const GeneratedToken& token, bool ends) {}
  // Exactly one of these, last.
  virtual void on_done(const JobResult& result) = 0;
  virtual void on_error(std::exception_ptr error) = 0;
};

struct Job {
  std::vector<int32_t> prompt;
  GenerateOptions options;  // `cancel` and `speculation` are the scheduler's
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<const Adapter> adapter = {};  // none: the model as it is
  bool drafts = false;                          // n-grams, and the sparse plan's where there is one; verified
  bool reuses_prompt = true;                    // may begin with what an earlier job left
  bool scores_prompt = false;                   // JobListener::on_prompt
  // The most probable answers instead of a drawn one (engine/beam_search.h): the best is this job's, the next ones its
  // siblings', which are told as if they had run, and are not submitted. Of `options` only the limits count.
  struct Beams {
    size_t width = 1;
    float length_penalty = 1;
    std::vector<std::shared_ptr<Job>> siblings = {};
  };
  std::optional<Beams> beams = {};
  bool is_sibling = false;
  // Of two that wait, the one of lower priority begins; of equal ones, that of the client with fewer in the making.
  int priority = 0;
  std::string client = {};
  // It ends then with what it has, or never begins.
  Clock::time_point deadline = Clock::time_point::max();
  std::shared_ptr<JobListener> listener;
  Stop cancel;  // from any thread: it ends at the next step, with what it has
};

}  // namespace hunch::serve
