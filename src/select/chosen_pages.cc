#include "select/chosen_pages.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/half.h"
#include "kernels/kv_rows.h"

namespace hunch {

ChosenPages::ChosenPages(Compute& compute, const KvView& view, size_t page_tokens, size_t n_heads, bool with_positions)
    : compute_(compute),
      view_(view),
      page_tokens_(page_tokens),
      n_heads_(n_heads),
      with_positions_(with_positions),
      names_(compute.arena.take<uint32_t>(n_heads)) {
  HUNCH_CHECK(view.positions.empty() && n_heads % view.n_kv_head == 0, "{} heads of {}", n_heads, view.n_kv_head);
  HUNCH_CHECK(page_tokens % view.page_tokens == 0 || (view.page_tokens % page_tokens == 0 && !view.groups.bits),
              "pages of {} tokens in a cache of pages of {}", page_tokens, view.page_tokens);
  std::iota(names_.begin(), names_.end(), 0u);
}

size_t ChosenPages::n_tokens(std::span<const uint32_t> pages, size_t n_seen) const {
  if (pages.empty()) return 0;
  const size_t last = size_t(pages.back()) * page_tokens_;
  HUNCH_CHECK(last < n_seen, "page {} of {} tokens", pages.back(), n_seen);
  return (pages.size() - 1) * page_tokens_ + std::min(page_tokens_, n_seen - last);
}

AttentionSpan ChosenPages::span(size_t head, std::span<const uint32_t> pages, size_t n_seen) {
  const size_t step = std::min(page_tokens_, view_.page_tokens), n = n_tokens(pages, n_seen);
  const size_t row = kv_row_bytes(view_), kv_head = head / (n_heads_ / view_.n_kv_head);
  const std::span<const std::byte*> table = compute_.arena.take<const std::byte*>((n + step - 1) / step);
  for (size_t i = 0; i < table.size(); ++i) {
    const size_t slot = pages[i * step / page_tokens_] * page_tokens_ + i * step % page_tokens_;
    const auto first = reinterpret_cast<uintptr_t>(view_.pages[slot / view_.page_tokens]);
    const size_t at = (kv_head * view_.page_tokens + slot % view_.page_tokens) * row;
    // Where a page would begin on which the head's rows stand in the head's place: nobody reads but these.
    table[i] = reinterpret_cast<const std::byte*>(first + at - head * step * row);
  }
  AttentionSpan span{view_, 0, 1, n - 1};
  span.kv.pages = table;
  span.kv.page_tokens = step;
  span.kv.n_kv_head = n_heads_;
  span.kv.n_tokens = n;
  if (KvGroups& groups = span.kv.groups; groups.bits) {  // the last page's last tokens
    const bool has_tail = n > 0 && (pages.back() + 1) * page_tokens_ > groups.first_tail;
    groups.first_tail = has_tail ? n - (n_seen - groups.first_tail) : n;
    const auto tail = reinterpret_cast<uintptr_t>(groups.tail);
    const size_t tail_bytes = kKvGroup * view_.d_head * sizeof(f16);  // of a head
    groups.tail = reinterpret_cast<const std::byte*>(tail + kv_head * tail_bytes - head * tail_bytes);
  }
  span.kv_heads = names_.subspan(head, 1);
  span.all_heads = false;
  if (!with_positions_) return span;
  std::vector<uint32_t>& positions = positions_.emplace_back(n_heads_)[head];
  for (size_t i = 0; i < n; ++i)
    positions.push_back(pages[i / page_tokens_] * uint32_t(page_tokens_) + uint32_t(i % page_tokens_));
  span.kv.positions = positions_.back();
  span.first_pos = n_seen - 1;
  return span;
}

}  // namespace hunch
