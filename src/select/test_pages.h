// For tests: attention to chosen pages from scratch, key by key, and a cache of random keys.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "formats/format.h"
#include "kernels/attention.h"
#include "kernels/hadamard.h"
#include "kernels/kv_rows.h"
#include "kernels/page_bounds.h"
#include "select/page_attention.h"

namespace hunch {

// The key of a slot, whose slots are positions.
inline std::vector<float> key_of(const KvView& kv, size_t kv_head, size_t slot) {
  std::vector<float> key(kv.d_head);
  if (kv.groups.bits) {
    read_kv_rows(kv, KvPart::kKeys, kv_head, slot, {key.data(), 1, kv.d_head});
    return key;
  }
  const size_t row = kv_head * kv.page_tokens + slot % kv.page_tokens;
  codec(kv.dtype).decode(kv.pages[slot / kv.page_tokens] + row * row_bytes(kv.dtype, kv.d_head), key.data(), kv.d_head);
  if (kv.rotated) hadamard(key, hadamard_block(key.size()));
  return key;
}

// What no score of a query head on this page exceeds; `rounds`: by summaries in halves, where the cache is not of f32.
inline double bound_of(const AttentionSpan& query, std::span<const float> q, size_t head, size_t n_group,
                       const AttentionParams& params, size_t page_tokens, size_t page, bool rounds) {
  const KvView& kv = query.kv;
  std::vector<double> largest(kv.d_head, -INFINITY), smallest(kv.d_head, INFINITY);
  for (size_t slot = page * page_tokens; slot < (page + 1) * page_tokens; ++slot) {
    const std::vector<float> key = key_of(kv, head / n_group, slot);
    for (size_t i = 0; i < kv.d_head; ++i) {
      largest[i] = std::max(largest[i], double(key[i]));
      smallest[i] = std::min(smallest[i], double(key[i]));
    }
  }
  for (size_t i = 0; rounds && kv.dtype != DType::kF32 && i < kv.d_head; ++i) {
    const float ends[] = {float(largest[i]), float(smallest[i])};
    f16 summary[2];
    summarise_keys({ends, 2, 1}, summary);
    largest[i] = to_f32(summary[0]), smallest[i] = to_f32(summary[1]);
  }
  double bound = 0;
  for (size_t i = 0; i < kv.d_head; ++i) bound += std::max(q[i] * largest[i], q[i] * smallest[i]);
  bound *= params.scale;
  if (params.soft_cap > 0) bound = params.soft_cap * std::tanh(bound / params.soft_cap);
  if (!params.alibi_slopes.empty())
    bound -= params.alibi_slopes[head] * double(query.first_pos - ((page + 1) * page_tokens - 1));
  return bound;
}

// The pages before the newest in the order in which query heads [first, end) read them, and each head's bounds.
struct PageOrder {
  std::vector<std::vector<double>> bounds;  // [heads][pages]
  std::vector<uint32_t> order;
};
inline PageOrder order_of_pages(const AttentionSpan& query, std::span<const float> Q, size_t first, size_t end,
                                size_t n_group, const AttentionParams& params, const PageBudget& budget) {
  PageOrder pages;
  const size_t n = query.first_pos / budget.page_tokens + 1 - budget.n_newest;
  std::vector<double> score(n);
  for (size_t head = first; head < end; ++head) {
    std::vector<double>& bounds = pages.bounds.emplace_back();
    const std::span<const float> q = Q.subspan(head * query.kv.d_head, query.kv.d_head);
    for (size_t p = 0; p < n; ++p)
      bounds.push_back(bound_of(query, q, head, n_group, params, budget.page_tokens, p, true));
    const double max = std::ranges::max(bounds);
    double sum = 0;
    for (const double bound : bounds) sum += std::exp(bound - max);
    for (size_t p = 0; p < n; ++p) score[p] += end - first == 1 ? bounds[p] : std::exp(bounds[p] - max) / sum;
  }
  pages.order.resize(n);
  std::iota(pages.order.begin(), pages.order.end(), 0u);
  std::ranges::stable_sort(pages.order, std::greater<>(), [&](uint32_t p) { return score[p]; });
  return pages;
}

// The slots of these pages and of the newest ones.
inline Rows slots_of(std::span<const uint32_t> pages, const AttentionSpan& query, const PageBudget& budget) {
  std::vector<uint32_t> slots;
  for (const uint32_t page : pages)
    for (size_t j = 0; j < budget.page_tokens; ++j) slots.push_back(uint32_t(page * budget.page_tokens + j));
  const size_t n = query.first_pos / budget.page_tokens + 1 - budget.n_newest;
  for (size_t slot = n * budget.page_tokens; slot <= query.first_pos; ++slot) slots.push_back(uint32_t(slot));
  std::ranges::sort(slots);
  return Rows::of(slots, query.kv.n_tokens);
}

// As attend_to_pages() without a tolerance; fewer pages than the budget: all of them.
inline void ref_attend_to_pages(const PageBudget& budget, const AttentionSpan& query, MatView<const float> Q,
                                size_t n_head, const AttentionParams& params, MatView<float> out) {
  if (query.first_pos / budget.page_tokens + 1 <= budget.n_pages)
    return ref::attention(Q, n_head, {&query, 1}, params, out);
  const size_t n_group = n_head / query.kv.n_kv_head, n_together = budget.per_head ? 1 : n_group, d = query.kv.d_head;
  for (size_t first = 0; first < n_head; first += n_together) {
    const size_t kv_head = first / n_group;
    if (!query.all_heads && !std::ranges::binary_search(query.kv_heads, kv_head)) continue;
    const PageOrder pages =
        order_of_pages(query, Q.row(query.first_token), first, first + n_together, n_group, params, budget);
    std::vector<Rows> keys(query.kv.n_kv_head, Rows::all(query.kv.n_tokens));
    keys[kv_head] = slots_of(std::span(pages.order).first(budget.n_pages - budget.n_newest), query, budget);
    AttentionSpan limited = query;
    limited.keys = keys;
    std::vector<float> whole(out.rows * n_head * d);
    ref::attention(Q, n_head, {&limited, 1}, params, {whole.data(), out.rows, n_head * d});
    std::copy_n(whole.data() + query.first_token * n_head * d + first * d, n_together * d,
                out.row(query.first_token).data() + first * d);
  }
}

// A layer's cache of random keys and values; every page a heap block of its exact size, so that ASan sees a read past
// it.
class RandomCache {
 public:
  RandomCache(size_t n_tokens, size_t n_kv_head, size_t d_head, size_t page_tokens, DType dtype, std::mt19937& rng) {
    const size_t bytes = row_bytes(dtype, d_head), half = n_kv_head * page_tokens * bytes;
    std::normal_distribution<float> normal;
    for (size_t first = 0; first < n_tokens; first += page_tokens) {
      pages_.push_back(std::make_unique<std::byte[]>(2 * half));
      for (size_t row = 0; row < 2 * n_kv_head * page_tokens; ++row) {
        std::vector<float> values(d_head);
        for (float& value : values) value = normal(rng);
        codec(dtype).encode(values.data(), pages_.back().get() + row * bytes, d_head);
      }
      table_.push_back(pages_.back().get());
    }
    view = {table_, page_tokens, n_kv_head, d_head, dtype, half, n_tokens, {}};
  }
  // Moves the keys of every so many slots towards the first of them: bounds are then close.
  void make_alike(size_t n_slots, float rest) {
    for (size_t slot = 0; slot < view.n_tokens; ++slot)
      for (size_t head = 0; head < view.n_kv_head; ++head) {
        const std::vector<float> first = key_of(view, head, slot / n_slots * n_slots);
        std::vector<float> key = key_of(view, head, slot);
        if (slot % n_slots != 0)
          for (size_t i = 0; i < key.size(); ++i) key[i] = first[i] + rest * key[i];
        const size_t row = head * view.page_tokens + slot % view.page_tokens;
        codec(view.dtype)
            .encode(key.data(), pages_[slot / view.page_tokens].get() + row * row_bytes(view.dtype, view.d_head),
                    view.d_head);
      }
  }
  KvView view;

 private:
  std::vector<std::unique_ptr<std::byte[]>> pages_;
  std::vector<const std::byte*> table_;
};

}  // namespace hunch
