// One layer's summaries of pages of keys (kernels/page_bounds.h), made as pages fill.
#pragma once
#include <vector>

#include "base/compute.h"
#include "base/half.h"
#include "kernels/attention.h"

namespace hunch {

// Pages count from a text's first token, each of `page_tokens`, and have nothing to do with those that a cache lies on.
// Only whole pages are known: they never change (of a cache in groups those before the one that the view's query lies
// in, which is read as codes from then on). As halves, where the cache is not of f32.
class PageSummaries {
 public:
  // The first n_pages of every KV head, from the keys as the cache has them; n_pages * page_tokens of these are there,
  // and slots are positions. Reads those that are new.
  void update(Compute& compute, const KvView& view, size_t page_tokens, size_t n_pages);
  // Only those of the first n_tokens stay.
  void truncate(size_t n_tokens);
  size_t n_pages() const { return n_pages_; }

  // Of the first bounds.cols pages of a head: page_bounds(). Counts nothing: bytes() is what it reads of a page.
  void bound(size_t kv_head, MatView<const float> Q, MatView<float> bounds, float* scratch) const;
  size_t bytes() const { return 2 * d_head_ * (is_f32_ ? sizeof(float) : sizeof(f16)); }

 private:
  struct Head {  // [n_pages, 2 * d_head], in one of the two
    std::vector<float> floats;
    std::vector<f16> halves;
  };
  std::vector<Head> heads_;  // [n_kv_head]
  size_t n_pages_ = 0, page_tokens_ = 1, d_head_ = 0;
  bool is_f32_ = true;
};

}  // namespace hunch
