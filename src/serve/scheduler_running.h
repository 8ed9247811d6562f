// A job that has a sequence, and what the scheduler's two files share.
#pragma once
#include <algorithm>

#include "serve/request_error.h"
#include "serve/scheduler.h"

namespace hunch::serve {

struct Scheduler::Running {
  std::shared_ptr<Job> job;
  Clock::time_point submitted, begun, last_token = {};
  std::unique_ptr<Sequence> sequence;
  std::unique_ptr<Speculation> speculation = {};
  std::shared_ptr<Answer> answer = {};  // none: its prompt is being scored
  std::vector<ScoredToken> scored = {};
  size_t n_calls = 0;
  double first_token_seconds = 0;

  // The most tokens that its sequence will hold.
  size_t n_target(size_t n_ctx) const {
    return std::min(n_ctx, job->prompt.size() + std::min(job->options.n_tokens, n_ctx));
  }
};

inline std::exception_ptr shutting_down() {
  return std::make_exception_ptr(RequestError(503, "the server is shutting down", {}, "server_shutting_down"));
}

}  // namespace hunch::serve
