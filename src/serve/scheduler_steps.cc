// What the scheduler's thread does with a job: its sequence, its prompt, its tokens, its end.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "serve/scheduler_running.h"

namespace hunch::serve {
namespace {

// Positions whose logits are kept at a time while a prompt is scored: 16 MB at a vocabulary of 128k.
constexpr size_t kScoredTogether = 32;

}  // namespace

// The rest of the prompt is read in the batch's steps, and the answer made.
void Scheduler::answer(Running& running) {
  Job& job = *running.job;
  GenerateOptions options = job.options;
  options.cancel = &job.cancel;
  options.n_history = running.sequence->n_tokens();
  if (job.drafts) {
    const bool sparse = engine_.sidecar && job.plan && job.plan->name != "sparse";
    options.speculation =
        &running.drafting.emplace(engine_, *running.sequence, DraftingOptions{.ngram = true, .sparse = sparse})
             .speculation();
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
  answer(running);
}

void Scheduler::run_task() {
  Task task;
  {
    const std::lock_guard lock(mutex_);
    if (tasks_.empty()) return;
    task = std::move(tasks_.front());
    tasks_.pop_front();
    --n_waiting_;
    running_stop_ = task.stop;
  }
  const Stop* const before = std::exchange(engine_.compute->stop, task.stop.get());
  const bool goes_on = !task.stop->requested() && task.call() && !task.stop->requested();
  engine_.compute->stop = before;
  const std::lock_guard lock(mutex_);
  running_stop_.reset();
  if (!goes_on) return;
  ++n_waiting_;
  tasks_.push_back(std::move(task));
}

Scheduler::Computed Scheduler::computed() const {
  const StepStats& s = batch_.transformer().stats;
  const auto sum = [](const std::vector<uint64_t>& of) { return std::accumulate(of.begin(), of.end(), uint64_t{0}); };
  return {sum(s.active_neurons), sum(s.all_neurons), sum(s.active_heads), sum(s.all_heads)};
}

void Scheduler::note_densities(const Computed& before) {
  const Computed now = computed();
  const auto note = [](Histogram& histogram, uint64_t n, uint64_t of) {
    if (of > 0) histogram.add(double(n) / double(of));
  };
  note(metrics_.mlp_density, now.neurons - before.neurons, now.all_neurons - before.all_neurons);
  note(metrics_.head_density, now.heads - before.heads, now.all_heads - before.all_heads);
}

void Scheduler::note_drafts(Running& running) {
  if (!running.drafting) return;
  uint64_t n_drafted = 0, n_accepted = 0;
  for (const auto& stats : running.drafting->speculation().stats())
    n_drafted += stats.n_drafted, n_accepted += stats.n_accepted;
  metrics_.n_drafted_tokens += n_drafted;
  metrics_.n_accepted_tokens += n_accepted;
  if (n_drafted) metrics_.draft_acceptance.add(double(n_accepted) / double(n_drafted));
}

void Scheduler::step() {
  run_task();
  for (auto& running : running_) {
    if (running->answer || running->job->cancel.requested()) continue;
    try {
      running->beams ? step_beams(*running) : score(*running);
    } catch (...) {
      finish(*running, std::current_exception());
      running.reset();
    }
  }
  std::erase(running_, nullptr);
  if (batch_.n_answers() == 0) return;
  ++metrics_.n_steps;
  metrics_.n_busy += batch_.n_answers();
  metrics_.step_answers.add(double(batch_.n_answers()));
  try {
    const auto begun = Clock::now();
    const Computed before = computed();
    batch_.step(budget_.prompt_tokens(batch_.n_decoding()));
    const Batch::StepTokens& tokens = batch_.last_step();
    budget_.note(tokens.n_decoding, tokens.n_prompt,
                 options_.step_seconds ? options_.step_seconds(tokens) : seconds_between(begun, Clock::now()));
    if (tokens.n_prompt == 0) note_densities(before);
  } catch (...) {  // of the whole step: whose fault it was is not known
    for (auto& running : running_) finish(*running, std::current_exception());
    running_.clear();
  }
}

void Scheduler::settle() {
  for (auto& running : running_) {
    if (running->beams && running->job->cancel.requested()) running->beams->end(StopReason::kInterrupted);
    if (running->beams && running->beams->is_done()) {
      tell_beams(*running);
      running.reset();
      continue;
    }
    const bool is_over = running->answer ? running->answer->is_done() : running->job->cancel.requested();
    if (!is_over) continue;
    finish(*running, running->answer ? running->answer->error() : ended_early(*running->job));
    running.reset();
  }
  std::erase(running_, nullptr);
  for (auto& paused : paused_) {
    if (!paused->job->cancel.requested()) continue;
    if (paused->answer) paused->answer->ends_if_stopped();
    finish(*paused, paused->answer ? paused->answer->error() : ended_early(*paused->job));
    paused.reset();
  }
  std::erase(paused_, nullptr);
}

void Scheduler::finish(Running& running, std::exception_ptr error) {
  Job& job = *running.job;
  ++metrics_.n_jobs;
  note_drafts(running);
  if (running.answer) batch_.remove(*running.answer);
  if (!error) {
    JobResult result{running.answer->generated()};
    const Generated& g = result.generated;
    metrics_.n_prompt_tokens += g.n_prompt;
    metrics_.prompt_seconds += g.prompt_seconds;
    metrics_.generation_seconds += g.seconds;
    metrics_.n_most_tokens = std::max<uint64_t>(metrics_.n_most_tokens, running.sequence->n_tokens());
    result.generated.n_prompt = job.prompt.size();
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
    if (is_cancelled && stopping) return job.listener->on_error(ended_early(job));
    return job.listener->on_done(result);
  }
  ++metrics_.n_failed;
  running.answer.reset();
  running.sequence.reset();  // what it holds is uncertain
  job.listener->on_error(error);
}

}  // namespace hunch::serve
