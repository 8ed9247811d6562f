// A few pages of a layer's cache as a cache of their own, which attention reads where they lie, whole pages at a time.
#pragma once
#include <deque>
#include <vector>

#include "base/compute.h"
#include "kernels/attention.h"

namespace hunch {

class ChosenPages {
 public:
  // Of `view`, whose slots are positions. `page_tokens` divides the view's, or is a multiple of it. With `n_heads`, a
  // multiple of the view's KV heads, each of these has pages of its own: several query heads may read other pages of
  // the same KV head. `with_positions`: queries see distances to keys (ALiBi), which costs reading keys one by one.
  ChosenPages(Compute& compute, const KvView& view, size_t page_tokens, size_t n_heads, bool with_positions);

  // The query that is row 0 and has seen n_seen tokens, itself the last: its `head` sees only these pages, ascending,
  // as far as there are tokens on them. Memory is the arena's.
  AttentionSpan span(size_t head, std::span<const uint32_t> pages, size_t n_seen);
  // Tokens on these.
  size_t n_tokens(std::span<const uint32_t> pages, size_t n_seen) const;

 private:
  Compute& compute_;
  const KvView view_;
  const size_t page_tokens_, n_heads_;
  const bool with_positions_;
  std::span<uint32_t> names_;                                      // [n_heads] each its own number
  std::deque<std::vector<std::vector<uint32_t>>> positions_ = {};  // of every span [n_heads], all empty but one
};

}  // namespace hunch
