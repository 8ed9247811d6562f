#include "serve/scheduler.h"

#include <algorithm>

#include "base/error.h"
#include "engine/ngram_drafter.h"
#include "serve/request_error.h"

namespace hunch::serve {
namespace {

// Positions whose logits are kept at a time while a prompt is scored: 16 MB at a vocabulary of 128k.
constexpr size_t kScoredTogether = 32;

BatchOptions batch_options(const Engine& engine, const SchedulerOptions& options, size_t n_ctx) {
  const size_t page = Transformer::kv_shape(engine.config(), options.kv_dtype).page_tokens;
  BatchOptions own;
  own.n_tokens = options.n_parallel * ((n_ctx + page - 1) / page * page);
  own.kv_dtype = options.kv_dtype;
  own.n_sequences = options.n_parallel;
  own.step_tokens = options.step_tokens;
  return own;
}

// An answer's penalties look back on what of the prompt it is given: all of it, then.
bool has_penalties(const SamplerOptions& s) {
  return s.repeat_penalty != 1 || s.frequency_penalty != 0 || s.presence_penalty != 0;
}

std::exception_ptr shutting_down() {
  return std::make_exception_ptr(RequestError(503, "the server is shutting down", {}, "server_shutting_down"));
}

}  // namespace

// A job that has a sequence.
struct Scheduler::Running {
  std::shared_ptr<Job> job;
  Clock::time_point submitted, begun, last_token = {};
  std::unique_ptr<Sequence> sequence;
  std::unique_ptr<Speculation> speculation = {};
  std::shared_ptr<Answer> answer = {};  // none: its prompt is being scored
  std::vector<ScoredToken> scored = {};
  size_t n_cached = 0, n_calls = 0;
  double first_token_seconds = 0;

  // The most tokens that its sequence will hold.
  size_t n_target(size_t n_ctx) const {
    return std::min(n_ctx, job->prompt.size() + std::min(job->options.n_tokens, n_ctx));
  }
};

Scheduler::Scheduler(const Engine& engine, const SchedulerOptions& options, Metrics& metrics)
    : engine_(engine),
      options_(options),
      metrics_(metrics),
      n_ctx_(resolve_context(engine.config(), options.n_ctx)),
      batch_(engine, batch_options(engine, options, n_ctx_)),
      memory_(engine, batch_, n_ctx_),
      thread_([this] { run(); }) {
  metrics_.n_cache_tokens = batch_.n_free_tokens();
}

Scheduler::~Scheduler() {
  stop();
  {
    const std::lock_guard lock(mutex_);
    quits_ = true;
  }
  wakes_.notify_all();
  thread_.join();
}

void Scheduler::require_open() const {
  if (draining_) std::rethrow_exception(shutting_down());
  if (n_waiting_ >= options_.n_queue)
    throw RequestError(429, fmt::format("{} requests are waiting already, try again later", n_waiting_), {},
                       "queue_full");
}

void Scheduler::submit(std::vector<std::shared_ptr<Job>> jobs, const char* param) {
  for (const auto& job : jobs) {
    if (job->prompt.empty()) refuse(param, "the prompt has no tokens");
    for (const int32_t id : job->prompt)
      if (id < 0 || size_t(id) >= engine_.config().n_vocab)
        refuse(param, "token id {} is outside the vocabulary of {}", id, engine_.config().n_vocab);
    if (job->prompt.size() > n_ctx_)
      throw RequestError(
          400, fmt::format("the prompt has {} tokens, more than the context of {}", job->prompt.size(), n_ctx_), param,
          "context_length_exceeded");
  }
  {
    const std::lock_guard lock(mutex_);
    try {
      require_open();
    } catch (const RequestError& e) {
      metrics_.n_refused += e.status() == 429;
      throw;
    }
    n_waiting_ += jobs.size();
    for (auto& job : jobs) incoming_.push_back(std::move(job));
    idle_ = false;
  }
  wakes_.notify_all();
}

void Scheduler::submit(Task task) {
  {
    const std::lock_guard lock(mutex_);
    require_open();
    ++n_waiting_;
    tasks_.push_back(std::move(task));
    idle_ = false;
  }
  wakes_.notify_all();
}

void Scheduler::drain() {
  {
    const std::lock_guard lock(mutex_);
    draining_ = true;
  }
  wakes_.notify_all();
}

void Scheduler::stop() {
  {
    const std::lock_guard lock(mutex_);
    draining_ = stopping_ = true;
  }
  wakes_.notify_all();
}

bool Scheduler::wait_until_idle(double seconds) {
  std::unique_lock lock(mutex_);
  return idles_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return idle_; });
}

size_t Scheduler::pages(size_t n_tokens) const {
  const size_t page = batch_.cache()->shape().page_tokens;
  return (n_tokens + page - 1) / page;
}

// Waits for something to do and takes what came. False when the thread is to end.
bool Scheduler::collect_incoming(std::vector<std::shared_ptr<Job>>& refused) {
  std::unique_lock lock(mutex_);
  const bool busy = !running_.empty() || !waiting_.empty();
  if (!busy && incoming_.empty() && tasks_.empty()) {
    idle_ = true;
    idles_.notify_all();
    wakes_.wait(lock, [&] { return quits_ || !incoming_.empty() || !tasks_.empty(); });
  }
  for (auto& job : incoming_) waiting_.emplace_back(std::move(job), Clock::now());
  incoming_.clear();
  if (draining_) {
    for (auto& [job, when] : waiting_) refused.push_back(std::move(job));
    waiting_.clear();
  } else {
    for (auto& [job, when] : waiting_)
      if (job->cancel.requested()) refused.push_back(std::move(job));
    std::erase_if(waiting_, [](const auto& entry) { return !entry.first; });
  }
  n_waiting_ -= refused.size();
  if (stopping_) {
    for (const auto& running : running_) running->job->cancel.request();
    n_waiting_ -= tasks_.size();
    tasks_.clear();  // who asked for them finds the connection closed
  }
  return !quits_ || !running_.empty() || !tasks_.empty();
}

void Scheduler::run() {
  for (;;) {
    std::vector<std::shared_ptr<Job>> refused;
    const bool goes_on = collect_incoming(refused);
    for (const auto& job : refused) {
      ++metrics_.n_jobs;
      ++(job->cancel.requested() ? metrics_.n_cancelled : metrics_.n_failed);
      job->listener->on_error(shutting_down());
    }
    refused.clear();
    if (!goes_on) return;
    admit_waiting();
    publish();
    step();
    settle();
    publish();
  }
}

// Every answer in the making can become as long as it may: what is kept of others makes room for that.
bool Scheduler::has_room_for(const Running& running) {
  const auto missing = [&](const Running& r) { return pages(r.n_target(n_ctx_)) - pages(r.sequence->n_tokens()); };
  size_t n_needed = missing(running);
  for (const auto& other : running_) n_needed += missing(*other);
  do {
    if (pages(batch_.n_free_tokens()) >= n_needed) return true;
  } while (memory_.forget_one());
  return false;
}

void Scheduler::admit_waiting() {
  while (running_.size() < options_.n_parallel && !waiting_.empty()) {
    auto [job, submitted] = waiting_.front();
    auto running = std::make_unique<Running>();
    try {
      running->job = job;
      running->submitted = submitted;
      // A text of control tokens alone begins without a space, which a sequence that goes on would not know.
      const Tokenizer* t = engine_.tokenizer ? &*engine_.tokenizer : nullptr;
      const bool is_bare = t && std::ranges::all_of(job->prompt, [&](int32_t id) {
                             return size_t(id) < t->n_vocab() && t->is_control(id);
                           });
      running->sequence =
          memory_.take(job->prompt, job->plan, job->options.as_alone,
                       job->reuses_prompt && !job->scores_prompt && !is_bare && !has_penalties(job->options.sampler));
      if (!has_room_for(*running)) {
        memory_.keep(std::move(running->sequence), job->plan, job->options.as_alone, job->prompt.size());
        if (!running_.empty()) return;  // what runs makes room
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
    waiting_.pop_front();
    const std::lock_guard lock(mutex_);
    --n_waiting_;
  }
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

void Scheduler::publish() {
  const std::lock_guard lock(mutex_);
  metrics_.n_running = running_.size();
  metrics_.n_waiting = n_waiting_;
  metrics_.n_kept = memory_.n_kept();
  metrics_.n_cache_free = batch_.n_free_tokens();
}

}  // namespace hunch::serve
