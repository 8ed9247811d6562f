// Who of the scheduler's jobs has a place in the cache: who begins next, and who makes room for others.
#include <algorithm>

#include "base/error.h"
#include "serve/scheduler_running.h"

namespace hunch::serve {
namespace {

// Tokens of a prompt that somebody reads already.
constexpr size_t kWorthWaiting = 32;
// Who begins, or goes on, has room for so many tokens of its answer; else it would soon be paused again.
constexpr size_t kLeastAnswer = 64;

}  // namespace

// Pages that the next step of all that runs needs, with all of their prompts.
size_t Scheduler::n_pages_due() const {
  size_t n = batch_.n_pages_due();
  for (const auto& running : running_)
    if (running->beams)
      n += running->beams->n_pages_due();
    else if (!running->answer)
      n += batch_.cache()->n_new_pages(running->sequence->id(),
                                       running->job->prompt.size() - running->sequence->n_tokens());
  return n;
}

// What is kept of others makes room for so many pages beside what is due; false where that is not enough.
bool Scheduler::make_room(size_t n_pages) {
  const size_t page = batch_.cache()->shape().page_tokens, n = n_pages + n_pages_due();
  const auto n_free = [&] { return batch_.n_free_tokens() / page; };
  if (n_free() + memory_.n_pages() < n) return false;  // nothing is forgotten for nothing
  while (n_free() < n)
    if (!memory_.forget_one()) return false;
  return true;
}

// Whether somebody reads a prompt that begins alike: the job then shares what was read.
bool Scheduler::waits_for_alike(const Job& job) const {
  if (!job.reuses_prompt || job.scores_prompt) return false;
  return std::ranges::any_of(running_, [&](const auto& running) {
    const Job& other = *running->job;
    const size_t n_read = running->sequence->n_tokens();
    if (n_read + 1 >= other.prompt.size() || other.plan != job.plan || other.adapter != job.adapter ||
        other.options.as_alone != job.options.as_alone || !Memory::may_go_on(*running->sequence))
      return false;
    const size_t n_alike = common_prefix(other.prompt, job.prompt);
    return n_alike >= n_read + kWorthWaiting;
  });
}

// A text of control tokens alone begins without a space, which a sequence that goes on would not know.
bool Scheduler::reuses(const Job& job) const {
  const Tokenizer* t = engine_.tokenizer ? &*engine_.tokenizer : nullptr;
  const bool is_bare =
      t && std::ranges::all_of(job.prompt, [&](int32_t id) { return size_t(id) < t->n_vocab() && t->is_control(id); });
  return job.reuses_prompt && !job.scores_prompt && !is_bare;
}

std::vector<Memory::Text> Scheduler::texts_in_the_making() const {
  std::vector<Memory::Text> out;
  for (const auto& other : running_)
    out.push_back(Memory::text_of(*other->sequence, other->job->plan.get(), other->job->options.as_alone,
                                  other->job->prompt.size()));
  return out;
}

// Whether a file that it begins like is being read: by a thread of its own, while others go on.
bool Scheduler::waits_for_disk(Waiting& w) {
  if (!disk_) return false;
  if (!w.looked_for) {
    Memory::OnDisk found;
    if (reuses(*w.job))
      found = memory_.fetch(w.job->prompt, w.job->plan, w.job->adapter, w.job->options.as_alone, texts_in_the_making());
    if (!found.name.empty() && !found.is_fetched) return true;  // until others were
    w.looked_for = true;
    w.fetched = std::move(found.name);
  }
  return !w.fetched.empty() && disk_->is_fetching(w.fetched);
}

void Scheduler::let_go_of_disk(Waiting& w) {
  if (!w.fetched.empty()) disk_->drop(std::exchange(w.fetched, {}));
}

// Whose turn it is.
std::optional<size_t> Scheduler::next_waiting() {
  std::optional<size_t> best;
  std::tuple<int, size_t> best_turn;
  for (size_t i = 0; i < waiting_.size(); ++i) {
    const Job& job = *waiting_[i].job;
    const auto n_of_client =
        std::ranges::count_if(running_, [&](const auto& running) { return running->job->client == job.client; });
    const std::tuple turn(job.priority, size_t(n_of_client));
    if ((best && turn >= best_turn) || waits_for_alike(job) || waits_for_disk(waiting_[i])) continue;
    best = i;
    best_turn = turn;
  }
  return best;
}

void Scheduler::admit_waiting() {
  while (running_.size() < options_.n_parallel) {
    const std::optional<size_t> next = next_waiting();
    const auto first = std::ranges::min_element(paused_, [](const auto& a, const auto& b) { return a->is_before(*b); });
    if (first != paused_.end() && (!next || (*first)->job->priority <= waiting_[*next].job->priority)) {
      if (!resume(**first)) return;
      (*first)->slot = free_slot();
      running_.push_back(std::move(*first));
      paused_.erase(first);
      continue;
    }
    if (!next || !admit(waiting_[*next])) return;
    waiting_.erase(waiting_.begin() + ptrdiff_t(*next));
    const std::lock_guard lock(mutex_);
    --n_waiting_;
  }
}

size_t Scheduler::free_slot() const {
  size_t slot = 0;
  while (std::ranges::any_of(running_, [&](const auto& running) { return running->slot == slot; })) ++slot;
  return slot;
}

// Begins a job, or ends it with its error; false where it has to wait for room.
bool Scheduler::admit(Waiting& waiting) {
  const std::shared_ptr<Job>& job = waiting.job;
  const Clock::time_point submitted = waiting.submitted;
  auto running = std::make_unique<Running>();
  running->job = job;
  running->submitted = submitted;
  try {
    const auto take = [&](bool reuses) {
      running->sequence =
          memory_.take(job->prompt, job->plan, job->adapter, job->options.as_alone, reuses, texts_in_the_making());
    };
    const auto has_room = [&] {
      const size_t n_there = running->sequence->n_tokens();
      const size_t n_wanted = job->prompt.size() - n_there + std::min(job->options.n_tokens, kLeastAnswer);
      return make_room(batch_.cache()->n_new_pages(running->sequence->id(), std::min(n_wanted, n_ctx_ - n_there)));
    };
    try {
      take(reuses(*job));
    } catch (const Error& e) {  // no room for virtual tokens beside those that run
      if (e.kind() != ErrorKind::kLimit || running_.empty()) throw;
      return false;
    }
    let_go_of_disk(waiting);
    if (!has_room()) {
      if (!running_.empty()) {
        memory_.keep(std::move(running->sequence), job->plan, job->options.as_alone, job->prompt.size());
        return false;
      }
      // It is alone, and what it shares with a text that is kept is in its way: two copies do not fit.
      running->sequence.reset();
      while (memory_.forget_one()) {
      }
      take(false);
      if (!has_room()) fail(ErrorKind::kLimit, "the cache has no room for a prompt of {} tokens", job->prompt.size());
    }
    const size_t n_there = running->sequence->n_tokens();
    running->begun = Clock::now();
    metrics_.n_cached_tokens += n_there;
    job->listener->on_begun(n_there);
    metrics_.queue_seconds.add(seconds_between(submitted, running->begun));
    if (job->beams)
      search(*running);
    else if (!job->scores_prompt)
      answer(*running);
    running->slot = free_slot();
    running_.push_back(std::move(running));
  } catch (...) {
    finish(*running, std::current_exception());
  }
  return true;
}

// One that made room goes on, where there is some; alone it always has.
bool Scheduler::resume(Running& paused) {
  const size_t n_text = paused.answer ? paused.answer->n_unread() : paused.job->prompt.size();
  const size_t n_wanted = std::min(n_text + kLeastAnswer, n_ctx_);
  if (!make_room(batch_.cache()->n_new_pages(paused.sequence->id(), n_wanted)) && !running_.empty()) return false;
  if (paused.answer) batch_.resume(paused.answer);
  if (paused.job->beams) search(paused);
  return true;
}

// Where the next step has no room, those of least priority that came last let go of what they hold.
void Scheduler::pause_for_room() {
  while (!make_room(0) && running_.size() > 1) {
    const auto last = std::ranges::max_element(running_, [](const auto& a, const auto& b) { return a->is_before(*b); });
    Running& running = **last;
    if (running.answer) {
      batch_.remove(*running.answer);
      running.answer->begin_anew();
    } else {
      running.beams.reset();  // begins anew
      running.sequence->truncate(0);
      running.scored.clear();
    }
    ++metrics_.n_preempted;
    paused_.push_back(std::move(*last));
    running_.erase(last);
  }
}

void Scheduler::end_overdue() {
  const auto now = Clock::now();
  for (const auto* all : {&running_, &paused_})
    for (const auto& running : *all)
      if (running->job->deadline <= now) running->job->cancel.request();
}

}  // namespace hunch::serve
