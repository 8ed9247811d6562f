// One thread that owns a batch and steps it: jobs join and leave between steps (continuous batching, Yu et al. 2022,
// "Orca"), prompts are read in chunks beside those that decode.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/answer.h"
#include "engine/drafting.h"
#include "serve/job.h"
#include "serve/memory.h"
#include "serve/metrics.h"
#include "serve/step_budget.h"
#include "serve/turns.h"

namespace hunch::serve {

struct SchedulerOptions {
  size_t n_parallel = 4;         // answers in the making at once
  size_t n_ctx = 0;              // most tokens of one; 0: resolve_context()'s choice
  KvType kv_type = DType::kF32;  // of the cache
  // Bytes of the cache; 0: as many as n_parallel whole contexts take. Where answers outgrow it, the one that came last
  // lets go of what it has, waits, and computes that again.
  uint64_t kv_bytes = 0;
  // Where texts are kept that outlive the server (serve/disk_memory.h), and their bytes; empty: nowhere.
  std::filesystem::path disk_folder = {};
  uint64_t disk_bytes = uint64_t{10} << 30;
  std::function<void(const std::string&)> warn = {};  // of what is wrong there
  size_t n_queue = 64;                                // jobs and tasks that may wait
  size_t step_tokens = 256;  // BatchOptions::step_tokens; StepBudget has fewer of prompts while others decode
  // What a step of these tokens is said to take, for tests; none: what it took.
  std::function<double(const Batch::StepTokens&)> step_seconds = {};
  std::shared_ptr<Turns> turns = {};          // with other models on these cores; none: it is alone
  double tell_seconds = 5;                    // JobListener::on_wait()
  std::function<void()> before_reading = {};  // DiskMemory::Options
  bool own_thread = true;                     // else it does nothing until its friend calls turn()
};

class Scheduler {
 public:
  // Work that needs the model's threads for itself between two steps: called until it returns false or its stop was
  // requested, which ends what computes in it too. It does not throw.
  struct Task {
    std::function<bool()> call;
    std::shared_ptr<Stop> stop = std::make_shared<Stop>();
  };

  // The references outlive it; from now on the engine is this thread's alone. Throws as Batch, and Error{kUsage} for a
  // cache that does not hold one context.
  Scheduler(const Engine& engine, const SchedulerOptions& options, Metrics& metrics);
  // Ends all jobs at the next step.
  ~Scheduler();

  // The jobs of one request, all or none, and its task. Throws RequestError{429} where the queue is full, {503} while
  // it drains, {400} for a job that can never fit, naming `param`. Listeners are told of everything else.
  void submit(std::vector<std::shared_ptr<Job>> jobs, const char* param = "prompt");
  void submit(Task task);

  // Takes nothing more; what waits is refused, what runs goes on.
  void drain();
  // What runs ends at the next step, with an error.
  void stop();
  // Whether all is done, after at most so long.
  bool wait_until_idle(double seconds);

  // What the answers in the making do; of each number below n_parallel().
  struct Slot {
    std::shared_ptr<const Job> job;  // none: nobody
    size_t n_read = 0;               // tokens of the text that are computed
    size_t n_generated = 0;
    double seconds = 0;  // since it began
  };
  std::vector<Slot> slots();

  size_t n_ctx() const { return n_ctx_; }
  size_t n_parallel() const { return options_.n_parallel; }
  // Of a task: tokens that it may compute in one call, beside those who wait for their next one.
  size_t task_tokens() const { return budget_.prompt_tokens(batch_.n_decoding()); }
  size_t kv_bytes() const { return batch_.kv_bytes(); }

 private:
  friend class SchedulerDriver;  // scheduler_schedules_test.cc
  struct Running;
  struct Waiting {
    std::shared_ptr<Job> job;
    Clock::time_point submitted;
    bool looked_for = false;   // on the disk
    std::string fetched = {};  // the file that it begins like; "": none
  };
  void run();
  bool turn();
  bool collect_incoming(std::vector<std::shared_ptr<Job>>& refused);
  void admit_waiting();
  std::optional<size_t> next_waiting();
  bool waits_for_disk(Waiting& waiting);
  bool reuses(const Job& job) const;
  std::vector<Memory::Text> texts_in_the_making() const;
  void let_go_of_disk(Waiting& waiting);
  bool admit(Waiting& waiting);
  bool resume(Running& paused);
  bool waits_for_alike(const Job& job) const;
  bool make_room(size_t n_pages);
  size_t n_pages_due() const;
  void pause_for_room();
  void end_overdue();
  void answer(Running& running);
  void score(Running& running);
  void search(Running& running);  // serve/scheduler_beams.cc, as the next two
  void step_beams(Running& running);
  void tell_beams(Running& running);
  void on_token(Running& running, const GeneratedToken& token);
  void run_task();
  void step();
  void settle();
  void finish(Running& running, std::exception_ptr error);
  struct Computed {  // of all steps so far, of all layers
    uint64_t neurons, all_neurons, heads, all_heads;
  };
  Computed computed() const;
  void note_densities(const Computed& before);
  void note_drafts(Running& running);
  void require_open() const;
  void publish();
  void tell_who_waits();
  size_t free_slot() const;

  const Engine& engine_;
  const SchedulerOptions options_;
  Metrics& metrics_;
  const size_t n_ctx_;
  Batch batch_;
  StepBudget budget_;
  std::unique_ptr<DiskMemory> disk_;  // or none
  Memory memory_;

  // Shared.
  std::mutex mutex_;
  std::condition_variable wakes_, idles_;
  std::deque<std::shared_ptr<Job>> incoming_;
  std::deque<Task> tasks_;
  std::shared_ptr<Stop> running_stop_;  // of the task that runs
  size_t n_waiting_ = 0;                // jobs and tasks that did not begin
  std::vector<Slot> slots_;
  bool draining_ = false, stopping_ = false, quits_ = false, idle_ = true;

  // The thread's own.
  std::deque<Waiting> waiting_;                    // in the order in which they came
  std::vector<std::unique_ptr<Running>> running_;  // in the order in which they began
  std::vector<std::unique_ptr<Running>> paused_;   // they hold nothing of the cache
  Clock::time_point last_told_ = Clock::now();
  std::thread thread_;  // last: it begins when all else is there
};

}  // namespace hunch::serve
