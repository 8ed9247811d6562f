// A wish that a call end early: of one answer, one request, one verb.
#pragma once
#include <atomic>

namespace hunch {

// Whoever started a call keeps a Stop and may ask it to end, from any thread or from a signal handler. A Stop with a
// parent is also asked for when its parent is: the command line's Ctrl-C is the parent of all that runs below it.
class Stop {
 public:
  Stop() = default;
  explicit Stop(const Stop* parent) : parent_(parent) {}
  Stop(const Stop&) = delete;
  Stop& operator=(const Stop&) = delete;

  // Whether that had been asked for already.
  bool request() noexcept { return requested_.exchange(true); }
  // For the next call. Whether it had been asked for.
  bool clear() noexcept { return requested_.exchange(false); }
  bool requested() const noexcept {
    return requested_.load(std::memory_order_relaxed) || (parent_ && parent_->requested());
  }
  // Throws Error{kInterrupted}.
  void throw_if_requested() const;

 private:
  std::atomic<bool> requested_{false};
  const Stop* parent_ = nullptr;
};

}  // namespace hunch
