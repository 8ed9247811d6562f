#include "serve/scheduler.h"

#include <algorithm>

#include "base/error.h"
#include "serve/cache_key.h"
#include "serve/scheduler_running.h"

namespace hunch::serve {
namespace {

BatchOptions batch_options(const Engine& engine, const SchedulerOptions& options, size_t n_ctx) {
  const KvShape shape = Transformer::kv_shape(engine.config(), options.kv_type);
  const size_t page = shape.page_tokens, n_whole = (n_ctx + page - 1) / page * page;
  BatchOptions own;
  own.n_tokens = options.n_parallel * n_whole;
  if (const size_t of_token = KvCache::bytes_per_token(shape); options.kv_bytes && of_token) {
    own.n_tokens = std::min<uint64_t>(own.n_tokens, options.kv_bytes / of_token / page * page);
    if (own.n_tokens < n_whole)
      fail(ErrorKind::kUsage,
           "a KV cache of {} bytes (kv-memory) holds {} tokens, fewer than one context (ctx) of {}, which takes {} "
           "bytes",
           options.kv_bytes, own.n_tokens, n_ctx, n_whole * of_token);
  }
  own.kv_type = options.kv_type;
  own.n_sequences = options.n_parallel;
  own.step_tokens = options.step_tokens;
  return own;
}

std::unique_ptr<DiskMemory> disk_memory(const Engine& engine, const SchedulerOptions& options, const KvCache& cache) {
  if (options.disk_folder.empty()) return nullptr;
  if (const KvType& type = cache.shape().type; type.grouped())
    fail(ErrorKind::kUnsupported,
         "a folder for texts (cache-dir) is not there for a cache (kv) of {}; use q4_0-rot or f16", name_of(type));
  return std::make_unique<DiskMemory>(
      DiskMemory::Options{options.disk_folder, options.disk_bytes, cache_key(engine.model->file(), cache.shape()),
                          options.warn, options.before_reading},
      cache.shape());
}

}  // namespace

Scheduler::Scheduler(const Engine& engine, const SchedulerOptions& options, Metrics& metrics)
    : engine_(engine),
      options_(options),
      metrics_(metrics),
      n_ctx_(resolve_context(engine.config(), options.n_ctx)),
      batch_(engine, batch_options(engine, options, n_ctx_)),
      budget_(options.step_tokens),
      disk_(disk_memory(engine, options, *batch_.cache())),
      memory_(batch_, n_ctx_, disk_.get()) {
  metrics_.n_cache_tokens = batch_.n_free_tokens();
  if (options_.own_thread) thread_ = std::thread([this] { run(); });
}

Scheduler::~Scheduler() {
  stop();
  {
    const std::lock_guard lock(mutex_);
    quits_ = true;
  }
  wakes_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Scheduler::require_open() const {
  if (draining_) throw shutting_down();
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
    if (running_stop_) running_stop_->request();
  }
  wakes_.notify_all();
}

std::vector<Scheduler::Slot> Scheduler::slots() {
  const std::lock_guard lock(mutex_);
  std::vector<Slot> out = slots_;
  out.resize(options_.n_parallel);
  return out;
}

bool Scheduler::wait_until_idle(double seconds) {
  std::unique_lock lock(mutex_);
  return idles_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return idle_; });
}

// Waits for something to do and takes what came. False when the thread is to end.
bool Scheduler::collect_incoming(std::vector<std::shared_ptr<Job>>& refused) {
  std::unique_lock lock(mutex_);
  const bool busy = !running_.empty() || !paused_.empty() || !waiting_.empty();
  if (!busy && incoming_.empty() && tasks_.empty()) {
    idle_ = true;
    idles_.notify_all();
    if (options_.own_thread) wakes_.wait(lock, [&] { return quits_ || !incoming_.empty() || !tasks_.empty(); });
  }
  // Those that wait for the disk alone: it will be a while.
  if (options_.own_thread && running_.empty() && paused_.empty() && !waiting_.empty() && incoming_.empty() &&
      tasks_.empty() && !quits_)
    wakes_.wait_for(lock, std::chrono::milliseconds(2));
  for (auto& job : incoming_) waiting_.push_back({std::move(job), Clock::now()});
  incoming_.clear();
  const auto now = Clock::now();
  for (Waiting& waiting : waiting_)
    if (draining_ || waiting.job->cancel.requested() || waiting.job->deadline <= now) {
      let_go_of_disk(waiting);
      refused.push_back(std::move(waiting.job));
    }
  std::erase_if(waiting_, [](const Waiting& waiting) { return !waiting.job; });
  n_waiting_ -= refused.size();
  if (stopping_) {
    for (const auto* all : {&running_, &paused_})
      for (const auto& running : *all) running->job->cancel.request();
    n_waiting_ -= tasks_.size();
    tasks_.clear();  // who asked for them finds the connection closed
  }
  return !quits_ || !running_.empty() || !paused_.empty() || !tasks_.empty();
}

void Scheduler::run() {
  while (turn()) {
  }
  memory_.save_all();
}

// One step, and what comes before and after it. False when the thread is to end.
bool Scheduler::turn() {
  std::vector<std::shared_ptr<Job>> refused;
  const bool goes_on = collect_incoming(refused);
  for (const auto& job : refused) {
    ++metrics_.n_jobs;
    ++(job->cancel.requested() ? metrics_.n_cancelled : metrics_.n_failed);
    job->listener->on_error(ended_early(*job));
  }
  refused.clear();
  if (!goes_on) return false;
  const Turns::Turn turn = options_.turns ? options_.turns->take() : Turns::Turn();
  end_overdue();
  admit_waiting();
  pause_for_room();
  publish();
  step();
  settle();
  publish();
  tell_who_waits();
  return true;
}

void Scheduler::tell_who_waits() {
  const auto now = Clock::now();
  if (seconds_between(last_told_, now) < options_.tell_seconds) return;
  last_told_ = now;
  for (const Waiting& waiting : waiting_) waiting.job->listener->on_wait();
  for (const auto* all : {&running_, &paused_})
    for (const auto& running : *all)
      if (running->n_calls == 0) running->job->listener->on_wait();
}

void Scheduler::publish() {
  const std::lock_guard lock(mutex_);
  metrics_.n_running = running_.size();
  slots_.assign(options_.n_parallel, {});
  for (const auto& running : running_)
    slots_[running->slot] = {running->job, running->sequence->n_tokens(), running->n_calls,
                             seconds_between(running->begun, Clock::now())};
  metrics_.n_paused = paused_.size();
  metrics_.n_waiting = n_waiting_;
  metrics_.n_kept = memory_.n_kept();
  metrics_.n_cache_free = batch_.n_free_tokens();
}

}  // namespace hunch::serve
