// Sums of a quarter of the bytes, for ranks with a slow network between them.
#pragma once
#include <cstdlib>
#include <vector>

#include "parallel/communicator.h"

namespace hunch {

// What every rank adds to a sum is rounded to int8 in blocks of 32 (scale = absmax / 127), as in quantised collectives
// (Wang et al. 2023, "ZeRO++", arXiv:2306.10209, section 3.3); between more than two ranks each adds up a part of it,
// which is rounded once more on its way to the others. Short sums, whose time is that of a message and not of its
// bytes, are those of `ranks`: so is what decoding adds up. Everything else too.
class RoundedSums final : public Communicator {
 public:
  static constexpr size_t kBlock = 32, kLeast = 4096;  // numbers of a block; of a sum that is rounded

  explicit RoundedSums(Communicator& ranks) : ranks_(ranks) {}

  size_t rank() const override { return ranks_.rank(); }
  size_t n_ranks() const override { return ranks_.n_ranks(); }
  // The same bits on all; not a number, or infinite, are the blocks in which some rank's part is.
  void begin_sum(std::span<float> x) override;
  void finish_sum() override;
  void gather(std::span<const float> own, std::span<const size_t> sizes, std::span<float> all) override {
    ranks_.gather(own, sizes, all);
  }
  void broadcast(std::span<std::byte> bytes, Wait wait) override { ranks_.broadcast(bytes, wait); }
  void send(size_t to, std::span<const float> x) override { ranks_.send(to, x); }
  void receive(size_t from, std::span<float> x) override { ranks_.receive(from, x); }
  void progress() override { ranks_.progress(); }
  [[noreturn]] void abort(const std::string& why) override {
    ranks_.abort(why);
    std::abort();  // gcc 12 does not see that this is not reached
  }

 private:
  std::span<float> part_of(size_t rank) const;
  void add_from(size_t rank, std::span<float> sum);

  Communicator& ranks_;
  std::span<float> summed_;             // what begin_sum() was given, if it is rounded
  std::vector<float> sent_, received_;  // scales, then codes
};

}  // namespace hunch
