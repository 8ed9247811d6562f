// What the scheduler's thread does with a job: its sequence, its prompt, its tokens, its end.
#include <algorithm>

#include "base/error.h"
#include "engine/ngram_drafter.h"
#include "serve/scheduler_running.h"

namespace hunch::serve {
namespace {

// Positions whose logits are kept at a time while a prompt is scored: 16 MB at a vocabulary of 128k.
constexpr size_t kScoredTogether = 32;
// Tokens of a prompt that somebody reads already.
constexpr size_t kWorthWaiting = 32;

// An answer's penalties look back on what of the prompt it is given: all of it, then.
bool has_penalties(const SamplerOptions& s) {
  return s.repeat_penalty != 1 || s.frequency_penalty != 0 || s.presence_penalty != 0;
}

}  // namespace

// Every answer in the making can become as long as it may: what is kept of others makes room for that.
bool Scheduler::has_room_for(const Running& running) {
  const auto missing = [&](const Running& r) {
    const size_t n = r.sequence->n_tokens();
    return batch_.cache()->n_new_pages(r.sequence->id(), std::max(n, r.n_target(n_ctx_)) - n);
  };
  size_t n_needed = missing(running);
  for (const auto& other : running_) n_needed += missing(*other);
  do {
    if (pages(batch_.n_free_tokens()) >= n_needed) return true;
  } while (memory_.forget_one());
  return false;
}

// Whether somebody reads a prompt that begins alike: the job then shares what was read.
bool Scheduler::waits_for_alike(const Job& job) const {
  if (!job.reuses_prompt || job.scores_prompt) return false;
  return std::ranges::any_of(running_, [&](const auto& running) {
    const Job& other = *running->job;
    const size_t n_read = running->sequence->n_tokens();
    if (n_read + 1 >= other.prompt.size() || other.plan != job.plan || other.options.as_alone != job.options.as_alone ||
        !Memory::may_go_on(*running->sequence))
      return false;
    const size_t n_alike = size_t(std::ranges::mismatch(other.prompt, job.prompt).in1 - other.prompt.begin());
    return n_alike >= n_read + kWorthWaiting;
  });
}

void Scheduler::admit_waiting() {
  for (auto next = waiting_.begin(); next != waiting_.end() && running_.size() < options_.n_parallel;) {
    if (waits_for_alike(*next->first)) {
      ++next;
      continue;
    }
    if (!admit(next->first, next->second)) return;  // what runs makes room
    next = waiting_.erase(next);
    const std::lock_guard lock(mutex_);
    --n_waiting_;
  }
}

// Begins a job, or ends it with its error; false where it has to wait for room.
bool Scheduler::admit(const std::shared_ptr<Job>& job, Clock::time_point submitted) {
  auto running = std::make_unique<Running>();
  running->job = job;
  running->submitted = submitted;
  try {
    // A text of control tokens alone begins without a space, which a sequence that goes on would not know.
    const Tokenizer* t = engine_.tokenizer ? &*engine_.tokenizer : nullptr;
    const bool is_bare = t && std::ranges::all_of(job->prompt, [&](int32_t id) {
                           return size_t(id) < t->n_vocab() && t->is_control(id);
                         });
    std::vector<Memory::Text> others;
    for (const auto& other : running_)
      others.push_back(Memory::text_of(*other->sequence, other->job->plan.get(), other->job->options.as_alone,
                                       other->job->prompt.size()));
    running->sequence = memory_.take(
        job->prompt, job->plan, job->options.as_alone,
        job->reuses_prompt && !job->scores_prompt && !is_bare && !has_penalties(job->options.sampler), others);
    if (!has_room_for(*running)) {
      memory_.keep(std::move(running->sequence), job->plan, job->options.as_alone, job->prompt.size());
      if (!running_.empty()) return false;
      fail(ErrorKind::kLimit, "the cache has no room for {} tokens", running->n_target(n_ctx_));
    }
    running->begun = Clock::now();
    running->n_cached = running->sequence->n_tokens();
    metrics_.n_cached_tokens += running->n_cached;
    metrics_.queue_seconds.add(seconds_between(submitted, running->begun));
    if (!job->scores_prompt) answer(*running);
    running_.push_back(std::move(running));
  } catch (...) {
    finish(*running, std::current_exception());
  }
  return true;
}

// The rest of the prompt is read in the batch's steps, and the answer made.
void Scheduler::answer(Running& running) {
  Job& job = *running.job;
  GenerateOptions options = job.options;
  options.cancel = &job.cancel;
  if (job.drafts) {
    running.speculation = std::make_unique<Speculation>();
    running.speculation->add(std::make_unique<NgramDrafter>());
    options.speculation = running.speculation.get();
  }
  const auto rest = job.prompt.begin() + ptrdiff_t(running.sequence->n_tokens());
  running.answer =
      batch_.admit(*running.sequence, {rest, job.prompt.end()}, options, [this, &running](const GeneratedToken& token) {
        on_token(running, token);
        return true;
      });
}

void Scheduler::on_token(Running& running, const GeneratedToken& token) {
  const bool ends = ++running.n_calls > running.answer->generated().ids.size();
  const auto now = Clock::now();
  if (!ends) {
    ++metrics_.n_generated_tokens;
    if (running.n_calls == 1) {
      running.first_token_seconds = seconds_between(running.submitted, now);
      metrics_.first_token_seconds.add(running.first_token_seconds);
    } else {
      metrics_.between_tokens_seconds.add(seconds_between(running.last_token, now));
    }
    running.last_token = now;
  }
  running.job->listener->on_token(token, ends);
}

// The log-probabilities of the next few tokens of the prompt; after the last, the answer begins.
void Scheduler::score(Running& running) {
  const Job& job = *running.job;
  Sequence& sequence = *running.sequence;
  const size_t first = sequence.n_tokens(), n_unread = job.prompt.size() - 1 - first;
  if (n_unread > 0) {
    SequenceRun run{&sequence};
    run.ids = std::span(job.prompt).subspan(first, sequence.n_together(n_unread, kScoredTogether));
    run.n_logits = run.ids.size();
    run.as_alone = job.options.as_alone;
    run.n_text = job.prompt.size();
    const MatView<const float> logits = batch_.compute({&run, 1});
    for (size_t i = 0; i < run.ids.size(); ++i) {
      const int32_t next = job.prompt[first + i + 1];
      running.scored.push_back({next, log_prob(logits.row(i), next), {}});
      if (job.options.n_top_log_probs)
        running.scored.back().top = top_log_probs(logits.row(i), job.options.n_top_log_probs);
    }
  }
  if (sequence.n_tokens() + 1 < job.prompt.size()) return;
  job.listener->on_prompt(std::move(running.scored));
  if (has_penalties(job.options.sampler)) sequence.go_back(0);
  answer(running);
}

void Scheduler::step() {
  Task task;
  {
    const std::lock_guard lock(mutex_);
    if (!tasks_.empty()) {
      task = std::move(tasks_.front());
      tasks_.pop_front();
      --n_waiting_;
    }
  }
  if (task && task()) {
    const std::lock_guard lock(mutex_);
    ++n_waiting_;
    tasks_.push_back(std::move(task));
  }
  for (auto& running : running_) {
    if (running->answer || running->job->cancel.requested()) continue;
    try {
      score(*running);
    } catch (...) {
      finish(*running, std::current_exception());
      running.reset();
    }
  }
  std::erase(running_, nullptr);
  if (batch_.n_answers() == 0) return;
  ++metrics_.n_steps;
  metrics_.n_busy += batch_.n_answers();
  try {
    batch_.step();
  } catch (...) {  // of the whole step: whose fault it was is not known
    for (auto& running : running_) finish(*running, std::current_exception());
    running_.clear();
  }
}

void Scheduler::settle() {
  for (auto& running : running_) {
    const bool is_over = running->answer ? running->answer->is_done() : running->job->cancel.requested();
    if (!is_over) continue;
    finish(*running, running->answer ? running->answer->error() : shutting_down());
    running.reset();
  }
  std::erase(running_, nullptr);
}

void Scheduler::finish(Running& running, std::exception_ptr error) {
  Job& job = *running.job;
  ++metrics_.n_jobs;
  if (running.answer) batch_.remove(*running.answer);
  if (!error) {
    JobResult result{running.answer->generated()};
    const Generated& g = result.generated;
    metrics_.n_prompt_tokens += g.n_prompt;
    metrics_.prompt_seconds += g.prompt_seconds;
    metrics_.generation_seconds += g.seconds;
    metrics_.n_most_tokens = std::max<uint64_t>(metrics_.n_most_tokens, running.sequence->n_tokens());
    result.generated.n_prompt = job.prompt.size();
    result.n_cached = running.n_cached;
    result.queue_seconds = seconds_between(running.submitted, running.begun);
    result.first_token_seconds = running.first_token_seconds;
    running.answer.reset();
    const bool is_cancelled = g.stop_reason == StopReason::kInterrupted;
    metrics_.n_cancelled += is_cancelled;
    memory_.keep(std::move(running.sequence), job.plan, job.options.as_alone, job.prompt.size());
    bool stopping = false;
    {
      const std::lock_guard lock(mutex_);
      stopping = stopping_;
    }
    if (is_cancelled && stopping) return job.listener->on_error(shutting_down());
    return job.listener->on_done(result);
  }
  ++metrics_.n_failed;
  running.answer.reset();
  running.sequence.reset();  // what it holds is uncertain
  job.listener->on_error(error);
}

}  // namespace hunch::serve
