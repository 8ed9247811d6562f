// Processes that compute one model together, each a part of it: what they tell each other.
#pragma once
#include <cstddef>
#include <span>
#include <string>

namespace hunch {

// What a rank does while it waits for another one.
enum class Wait : uint8_t {
  kBusy,  // the other one is computing too: asks again at once, and gives up after the time-out
  kIdle,  // there may be nothing to do for hours: sleeps between questions, without end
};

// One rank's end of it. Every rank calls the same functions in the same order, one caller at a time. Rank 0 leads: it
// alone knows what is to be computed. All throw Error{kIo} naming this rank, when another one does not answer within
// the time-out or has ended the job.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual size_t rank() const = 0;
  virtual size_t n_ranks() const = 0;
  bool leads() const { return rank() == 0; }

  // x[i] becomes the sum of every rank's x[i], in f32: the same bits on all. Until finish_sum() nobody touches x, and
  // nothing else is asked of this.
  virtual void begin_sum(std::span<float> x) = 0;
  virtual void finish_sum() = 0;
  void sum(std::span<float> x) {
    begin_sum(x);
    finish_sum();
  }
  // Rank 0 gets the others' `own` [sizes[rank]], one after the other: all [sum of sizes], which is written on rank 0
  // alone; may not overlap own.
  virtual void gather(std::span<const float> own, std::span<const size_t> sizes, std::span<float> all) = 0;
  // Rank 0's bytes, of a size that all know, become everyone's.
  virtual void broadcast(std::span<std::byte> bytes, Wait wait) = 0;
  // From this rank to another one, which asks for as many, in the same order. The sender goes on at once, with a copy
  // on its way: progress() now and then brings it there.
  virtual void send(size_t to, std::span<const float> x) = 0;
  virtual void receive(size_t from, std::span<float> x) = 0;
  virtual void progress() {}

  // Ends the job on all ranks, whatever they do; `why` is the one thing that is said about it. In a process of its own
  // it does not return; ranks that are threads throw Error{kIo}.
  [[noreturn]] virtual void abort(const std::string& why) = 0;

  // What rank 0 says, as everyone's answer.
  bool agree(bool word) {
    std::byte byte{word};
    broadcast({&byte, 1}, Wait::kBusy);
    return byte != std::byte{0};
  }
};

}  // namespace hunch
