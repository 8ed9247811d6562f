// The text that is trained on, as batches: which windows, in which order, is a matter of the seed and the step alone.
#pragma once
#include <span>
#include <vector>

#include "train/network.h"

namespace hunch {

class TokenSource {
 public:
  // `ids` outlive this. A window is n_ctx tokens and the one after them. Throws Error{kUsage} naming what is needed for
  // a text that is shorter than one window.
  TokenSource(std::span<const int32_t> ids, size_t n_ctx, uint64_t seed);

  // Windows of one pass over the text.
  size_t n_windows() const { return n_windows_; }
  // Windows [first, first + n) of all passes, one after the other. Every pass has an order of its own, and begins
  // somewhere in the first window, so that windows are cut elsewhere.
  TokenBatch batch(uint64_t first, size_t n);

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
