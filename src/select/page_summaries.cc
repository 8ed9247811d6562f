#include "select/page_summaries.h"

#include "base/error.h"
#include "kernels/kv_rows.h"
#include "kernels/page_bounds.h"

namespace hunch {

void PageSummaries::update(Compute& compute, const KvView& view, size_t page_tokens, size_t n_pages) {
  if (n_pages <= n_pages_) return;
  HUNCH_CHECK(view.positions.empty() && n_pages * page_tokens <= view.n_tokens, "{} pages of {} in {} tokens", n_pages,
              page_tokens, view.n_tokens);
  HUNCH_CHECK(!view.groups.bits || (page_tokens % kKvGroup == 0 && n_pages * page_tokens <= view.groups.first_tail),
              "{} pages of {} tokens in groups, of which {} tokens are codes", n_pages, page_tokens,
              view.groups.first_tail);
  page_tokens_ = page_tokens;
  d_head_ = view.d_head;
  is_f32_ = view.dtype == DType::kF32;
  heads_.resize(view.n_kv_head);
  for (Head& head : heads_)
    is_f32_ ? head.floats.resize(n_pages * 2 * d_head_) : head.halves.resize(n_pages * 2 * d_head_);
  const size_t n_new = n_pages - n_pages_, n_values = page_tokens * d_head_;
  const Arena::Scope scope(compute.arena);
  float* const decoded = compute.arena.take<float>(compute.threads.n_threads() * n_values).data();
  const auto summarise = [&](size_t i, float* keys) {
    const size_t head = i / n_new, page = n_pages_ + i % n_new;
    const MatView<float> K(keys, page_tokens, d_head_);
    read_kv_rows(view, KvPart::kKeys, head, page * page_tokens, K);
    is_f32_ ? summarise_keys(K, heads_[head].floats.data() + page * 2 * d_head_)
            : summarise_keys(K, heads_[head].halves.data() + page * 2 * d_head_);
  };
  const size_t n = n_new * heads_.size();
  if (n < 64) {  // not worth waking anybody
    for (size_t i = 0; i < n; ++i) summarise(i, decoded);
  } else {
    compute.threads.parallel_for_dynamic(n, 16, [&](size_t begin, size_t end, size_t thread) {
      for (size_t i = begin; i < end; ++i) summarise(i, decoded + thread * n_values);
    });
  }
  compute.meter.read_kv(n * page_tokens * kv_row_bytes(view));
  n_pages_ = n_pages;
}

void PageSummaries::truncate(size_t n_tokens) { n_pages_ = std::min(n_pages_, n_tokens / page_tokens_); }

void PageSummaries::bound(size_t kv_head, MatView<const float> Q, MatView<float> bounds, float* scratch) const {
  HUNCH_CHECK(kv_head < heads_.size() && bounds.cols <= n_pages_ && Q.cols == d_head_, "head {}, {} of {} pages",
              kv_head, bounds.cols, n_pages_);
  const Head& head = heads_[kv_head];
  is_f32_ ? page_bounds(head.floats.data(), Q, bounds, scratch) : page_bounds(head.halves.data(), Q, bounds, scratch);
}

}  // namespace hunch
