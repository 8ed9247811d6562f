// Whose turn it is at the machine's cores. Models of one process step one at a time: the threads of two at once would
// wait for each other inside every product.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

namespace hunch::serve {

// In the order in which they asked, so that a model with long steps and one with short ones alternate. (A mutex would
// let whoever has just left in again.)
class Turns {
 public:
  // Until its end it is the holder's turn.
  class Turn {
   public:
    Turn() = default;  // nobody's
    explicit Turn(Turns* turns) : turns_(turns) {}
    Turn(Turn&& other) noexcept : turns_(std::exchange(other.turns_, nullptr)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (turns_) turns_->leave();
    }

   private:
    Turns* turns_ = nullptr;
  };

  // Waits for it.
  [[nodiscard]] Turn take() {
    std::unique_lock lock(mutex_);
    const uint64_t own = n_asked_++;
    changed_.wait(lock, [&] { return n_left_ == own; });
    return Turn(this);
  }

 private:
  void leave() {
    {
      const std::lock_guard lock(mutex_);
      ++n_left_;
    }
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t n_asked_ = 0, n_left_ = 0;
};

}  // namespace hunch::serve
