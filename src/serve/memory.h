// Texts that were answered, kept for prompts that begin alike: the next turn of a conversation is computed from where
// the last one ended. What was not used for longest makes room.
#pragma once
#include <list>
#include <memory>
#include <span>

#include "engine/batch.h"
#include "serve/disk_memory.h"

namespace hunch::serve {

// Of one thread: the scheduler's.
class Memory {
 public:
  // Sequences are those of `batch`; both outlive this. `disk`: where texts go that are forgotten here, or none.
  Memory(Batch& batch, size_t n_ctx, DiskMemory* disk = nullptr) : batch_(batch), n_ctx_(n_ctx), disk_(disk) {}

  // A text whose beginning may be reused: its first n_tokens, by prompts that the same plan and adapter compute, with
  // or without neighbours as `as_alone` says. Others would get other numbers.
  struct Text {
    const Sequence* sequence;
    const Plan* plan;
    bool as_alone;
    size_t n_tokens;
  };
  // Whether a prompt is computed the same from anywhere on: no key or expert policy looks at what it is read with, and
  // no frequency depends on its length (Sequence::chunk_tokens()).
  static bool may_go_on(const Sequence& sequence);
  // What a job in the making lets others reuse, n_prompt tokens of which are its prompt.
  static Text text_of(const Sequence& sequence, const Plan* plan, bool as_alone, size_t n_prompt);

  // A sequence that holds a beginning of `prompt`, but never all of it, or an empty one. It is what was kept, where all
  // of that is reused; else it shares the pages of what was kept or of one of `others`.
  std::unique_ptr<Sequence> take(std::span<const int32_t> prompt, const std::shared_ptr<const Plan>& plan,
                                 const std::shared_ptr<const Adapter>& adapter, bool as_alone, bool reuses,
                                 std::span<const Text> others = {});
  // Where a file holds a longer beginning of `prompt` than what is here, its name; it is being read, or would be if
  // others were not. "": take() is all there is.
  struct OnDisk {
    std::string name;
    bool is_fetched;
  };
  OnDisk fetch(std::span<const int32_t> prompt, const std::shared_ptr<const Plan>& plan,
               const std::shared_ptr<const Adapter>& adapter, bool as_alone, std::span<const Text> others = {});
  // The text of a job that is over, whose first n_prompt tokens were its prompt.
  void keep(std::unique_ptr<Sequence> sequence, std::shared_ptr<const Plan> plan, bool as_alone, size_t n_prompt);
  // Forgets the oldest; false when there is none.
  bool forget_one();
  // All that is kept goes to the disk, which takes as long as it takes.
  void save_all();
  size_t n_kept() const { return kept_.size(); }
  // Pages that would be free without any of it, at most: others may share them.
  size_t n_pages() const;

 private:
  struct Kept {
    std::unique_ptr<Sequence> sequence;
    std::shared_ptr<const Plan> plan;
    bool as_alone;
  };
  bool save(const Kept& kept, bool waits);
  struct Best {  // text that is here, and how much of it is shared
    const Sequence* source = nullptr;
    std::list<Kept>::iterator kept;
    size_t n = 0;
  };
  Best best_here(std::span<const int32_t> reusable, const std::shared_ptr<const Plan>& plan,
                 const std::shared_ptr<const Adapter>& adapter, bool as_alone, std::span<const Text> others);
  std::string on_disk(std::span<const int32_t> reusable, const std::shared_ptr<const Plan>& plan,
                      const std::shared_ptr<const Adapter>& adapter, bool as_alone, size_t n_here) const;
  std::unique_ptr<Sequence> from_disk(std::span<const int32_t> reusable, const std::shared_ptr<const Plan>& plan,
                                      const std::shared_ptr<const Adapter>& adapter, bool as_alone, size_t n_here);

  Batch& batch_;
  size_t n_ctx_;
  DiskMemory* disk_;
  std::list<Kept> kept_;  // the one that was used last at the end
};

}  // namespace hunch::serve
