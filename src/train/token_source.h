// The text that is trained on, as batches: which windows, in which order, is a matter of the seed and the step alone.
#pragma once
#include <span>
#include <vector>

#include "train/network.h"

namespace hunch {

// Where the batches of steps come from.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  // Windows of one pass.
  virtual size_t n_windows() const = 0;
  // Sequences of a window, at most.
  virtual size_t n_sequences() const { return 1; }
  // Windows [first, first + n) of all passes, one after the other: the same whoever asks, and after what.
  virtual TokenBatch batch(uint64_t first, size_t n) = 0;
};

// Numbers 0 ... n - 1 in the order of a pass.
std::vector<uint32_t> shuffled(size_t n, uint64_t seed, uint64_t pass);

class TokenSource final : public BatchSource {
 public:
  // `ids` outlive this. A window is n_ctx tokens and the one after them. Throws Error{kUsage} naming what is needed for
  // a text that is shorter than one window.
  TokenSource(std::span<const int32_t> ids, size_t n_ctx, uint64_t seed);

  size_t n_windows() const override { return n_windows_; }
  // Every pass has an order of its own, and begins somewhere in the first window, so that windows are cut elsewhere.
  TokenBatch batch(uint64_t first, size_t n) override;

 private:
  void begin_pass(uint64_t pass);

  std::span<const int32_t> ids_;
  size_t n_ctx_, n_windows_;
  uint64_t seed_, pass_ = UINT64_MAX;
  size_t offset_ = 0;            // of the present pass
  std::vector<uint32_t> order_;  // [n_windows]
};

// All of a text in order, in windows of n_ctx tokens, n of them at a time; the last tokens that fill no window are left
// out. For losses on texts that are held out.
std::vector<TokenBatch> batches_in_order(std::span<const int32_t> ids, size_t n_ctx, size_t n, size_t most_windows);

}  // namespace hunch
