#include "select/voted_keys.h"

#include <algorithm>

#include "select/key_policy.h"
#include "select/prompt_keys.h"

namespace hunch {

void keep_voted(const KvView& kv, MatView<const float> votes, size_t n_first, size_t budget, double floor,
                std::vector<Rows>& kept) {
  const size_t n_heads = kv.n_kv_head, n = budget - std::min(budget, n_first);
  std::vector<size_t> n_of_head(n_heads, n);
  n_first = std::min(n_first, votes.cols);
  if (floor < 1) share_out(votes.col_range(n_first, votes.cols - n_first), n, floor, n_of_head);
  kept.resize(n_heads);
  for (size_t head = 0; head < n_heads; ++head) {
    const size_t n_slots = kv.n_slots(head), first = std::min(n_first, n_slots);
    if (n_of_head[head] >= n_slots - first) {
      kept[head].refill_all(n_slots);
      continue;
    }
    std::vector<uint32_t>& slots = kept[head].refill(n_slots);
    append_range(0, first, slots);
    append_heaviest(votes.row(head), first, n_slots, n_of_head[head], slots);
    if (slots.empty()) slots.push_back(uint32_t(n_slots - 1));  // who attends needs a key
  }
}

void hand_out(const KvView& kv, std::vector<Rows>& kept, std::span<Rows> out) {
  for (size_t head = 0; head < out.size(); ++head)
    if (kept.empty()) {
      out[head].refill_all(kv.n_slots(head));
    } else {
      out[head] = std::move(kept[head]);
    }
  kept.clear();
}

}  // namespace hunch
