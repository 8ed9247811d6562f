#include "train/token_source.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "train/random_values.h"

namespace hunch {
namespace {

// Tokens [begin, begin + n_ctx) and what follows each.
void append_window(std::span<const int32_t> ids, size_t begin, size_t n_ctx, TokenBatch& batch) {
  const auto add = [&](size_t from, std::vector<int32_t>& to) {
    const std::span<const int32_t> window = ids.subspan(from, n_ctx);
    to.insert(to.end(), window.begin(), window.end());
  };
  add(begin, batch.ids);
  add(begin + 1, batch.targets);
  batch.shape = {batch.ids.size() / n_ctx, n_ctx};
}

std::vector<uint32_t> in_random_order(size_t n, RandomValues& random) {
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  for (size_t i = n; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

}  // namespace

std::vector<uint32_t> shuffled(size_t n, uint64_t seed, uint64_t pass) {
  RandomValues random(seed, pass);
  return in_random_order(n, random);
}

TokenSource::TokenSource(std::span<const int32_t> ids, size_t n_ctx, uint64_t seed)
    : ids_(ids), n_ctx_(n_ctx), n_windows_(ids.empty() ? 0 : (ids.size() - 1) / n_ctx), seed_(seed) {
  if (n_windows_ == 0)
    fail(ErrorKind::kUsage,
         "the text to train on has {} tokens; one window takes {} (n_ctx, and one to predict): give more text, or a "
         "smaller n_ctx",
         ids.size(), n_ctx + 1);
  // The last window of a pass that begins later has to fit as well.
  if (n_windows_ > 1 && (ids.size() - 1) % n_ctx == 0) --n_windows_;
}

void TokenSource::begin_pass(uint64_t pass) {
  pass_ = pass;
  RandomValues random(seed_, pass);
  const size_t n_spare = ids_.size() - 1 - n_windows_ * n_ctx_;
  offset_ = size_t(random.below(std::min(n_spare, n_ctx_ - 1) + 1));
  order_ = in_random_order(n_windows_, random);
}

TokenBatch TokenSource::batch(uint64_t first, size_t n) {
  TokenBatch batch;
  for (uint64_t w = first; w < first + n; ++w) {
    if (w / n_windows_ != pass_) begin_pass(w / n_windows_);
    append_window(ids_, offset_ + order_[w % n_windows_] * n_ctx_, n_ctx_, batch);
  }
  return batch;
}

std::vector<TokenBatch> batches_in_order(std::span<const int32_t> ids, size_t n_ctx, size_t n, size_t most_windows) {
  std::vector<TokenBatch> batches;
  size_t n_windows = 0;
  if (n_ctx == 0) return batches;
  for (size_t begin = 0; begin + n_ctx < ids.size() && n_windows < most_windows; begin += n_ctx, ++n_windows) {
    if (n_windows % n == 0) batches.emplace_back();
    append_window(ids, begin, n_ctx, batches.back());
  }
  return batches;
}

}  // namespace hunch
