#include "serve/memory.h"

#include <algorithm>

namespace hunch::serve {
namespace {

constexpr size_t kMostKept = 256;
constexpr size_t kMostRecurrent = 8;  // of models whose states take the same room however short the text is

size_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  return size_t(std::ranges::mismatch(a, b).in1 - a.begin());
}

// Whether a prompt is computed the same from anywhere on: no key or expert policy looks at what it is read with, and no
// frequency depends on its length (Sequence::chunk_tokens()).
bool may_go_on(const Sequence& sequence) {
  return sequence.chunk_tokens() == 0 && !sequence.plan().keys && !sequence.learns_from_prompts();
}

}  // namespace

std::unique_ptr<Sequence> Memory::take(std::span<const int32_t> prompt, const std::shared_ptr<const Plan>& plan,
                                       bool as_alone, bool reuses) {
  auto best = kept_.end();
  size_t n_best = 0;
  // The last token is always computed: its logits begin the answer.
  const std::span<const int32_t> reusable = prompt.first(prompt.empty() ? 0 : prompt.size() - 1);
  for (auto it = kept_.begin(); reuses && it != kept_.end(); ++it) {
    if (it->plan != plan || it->as_alone != as_alone) continue;
    const Sequence& kept = *it->sequence;
    const size_t n = kept.cache().back_to(kept.id(), common_prefix(reusable, kept.ids()));
    // Of two texts that share no more than a greeting, one does not forget itself for the other.
    if (n < n_best || n == 0 || 2 * n < it->sequence->n_tokens()) continue;
    n_best = n;
    best = it;
  }
  if (best == kept_.end()) return batch_.new_sequence({.plan = plan, .adapter = engine_.adapter, .n_ctx = n_ctx_});
  std::unique_ptr<Sequence> sequence = std::move(best->sequence);
  kept_.erase(best);
  sequence->go_back(n_best);
  return sequence;
}

void Memory::keep(std::unique_ptr<Sequence> sequence, std::shared_ptr<const Plan> plan, bool as_alone,
                  size_t n_prompt) {
  if (!may_go_on(*sequence)) return;
  // Sparse mode decodes otherwise than it reads prompts: the answer's tokens have other keys than a prompt's. Where
  // bits count, any mode does.
  const bool decodes_otherwise = as_alone || (plan && plan->name == "sparse");
  if (decodes_otherwise && sequence->n_tokens() > n_prompt) sequence->go_back(n_prompt);
  if (sequence->n_tokens() == 0) return;
  if (kept_.size() >= (batch_.cache()->is_recurrent() ? kMostRecurrent : kMostKept)) forget_one();
  kept_.push_back({std::move(sequence), std::move(plan), as_alone});
}

bool Memory::forget_one() {
  if (kept_.empty()) return false;
  kept_.pop_front();
  return true;
}

}  // namespace hunch::serve
