// A job that has a sequence, and what the scheduler's two files share.
#pragma once
#include <optional>
#include <tuple>

#include "engine/beam_search.h"
#include "serve/request_error.h"
#include "serve/scheduler.h"

namespace hunch::serve {

struct Scheduler::Running {
  std::shared_ptr<Job> job;
  Clock::time_point submitted, begun, last_token = {};
  std::unique_ptr<Sequence> sequence;
  std::optional<Drafting> drafting = {};
  std::shared_ptr<Answer> answer = {};  // none: its prompt is being scored, or it has
  std::unique_ptr<BeamSearch> beams = {};
  size_t n_remembered = 0;  // of its prompt, when the beams began
  std::vector<ScoredToken> scored = {};
  size_t n_calls = 0;
  size_t slot = 0;  // its number among those that run
  double first_token_seconds = 0;

  bool is_before(const Running& other) const {
    return std::tuple(job->priority, submitted) < std::tuple(other.job->priority, other.submitted);
  }
};

// Why a job ends that has no answer yet.
inline std::exception_ptr ended_early(const Job& job) {
  return std::make_exception_ptr(job.deadline <= Clock::now()
                                     ? RequestError(504, "its deadline came before its answer", {}, "deadline_exceeded")
                                     : shutting_down());
}

}  // namespace hunch::serve
