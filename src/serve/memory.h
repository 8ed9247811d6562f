// Texts that were answered, kept for prompts that begin alike: the next turn of a conversation is computed from where
// the last one ended. What was not used for longest makes room.
#pragma once
#include <list>
#include <memory>
#include <span>

#include "engine/batch.h"

namespace hunch::serve {

// Of one thread: the scheduler's.
class Memory {
 public:
  // Sequences are those of `batch`; both outlive this.
  Memory(const Engine& engine, Batch& batch, size_t n_ctx) : engine_(engine), batch_(batch), n_ctx_(n_ctx) {}

  // A sequence that holds a beginning of `prompt`, but never all of it, or an empty one. Only what has the numbers that
  // the prompt itself would get is reused: what the same plan computed, with or without neighbours as `as_alone` says.
  std::unique_ptr<Sequence> take(std::span<const int32_t> prompt, const std::shared_ptr<const Plan>& plan,
                                 bool as_alone, bool reuses);
  // The text of a job that is over, whose first n_prompt tokens were its prompt.
  void keep(std::unique_ptr<Sequence> sequence, std::shared_ptr<const Plan> plan, bool as_alone, size_t n_prompt);
  // Forgets the oldest; false when there is none.
  bool forget_one();
  size_t n_kept() const { return kept_.size(); }

 private:
  struct Kept {
    std::unique_ptr<Sequence> sequence;
    std::shared_ptr<const Plan> plan;
    bool as_alone;
  };
  const Engine& engine_;
  Batch& batch_;
  size_t n_ctx_;
  std::list<Kept> kept_;  // the one that was used last at the end
};

}  // namespace hunch::serve
