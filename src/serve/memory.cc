#include "serve/memory.h"

#include <algorithm>

#include "base/error.h"

namespace hunch::serve {
namespace {

constexpr size_t kMostKept = 256;
constexpr size_t kMostRecurrent = 8;  // of models whose states take the same room however short the text is
constexpr size_t kLeastForked = 64;   // tokens that are worth a copy of such states

// What depends on a sidecar or an adapter, or has the bits of this machine, is not for another day.
bool is_lasting(const Plan* plan, bool as_alone, const Adapter* adapter) {
  return plan && (plan->name == "dense" || plan->name == "exact") && !as_alone && !adapter;
}

}  // namespace

bool Memory::may_go_on(const Sequence& sequence) {
  return sequence.chunk_tokens() == 0 && !sequence.plan().keys && !sequence.learns_from_prompts();
}

Memory::Text Memory::text_of(const Sequence& sequence, const Plan* plan, bool as_alone, size_t n_prompt) {
  if (!may_go_on(sequence)) return {&sequence, plan, as_alone, 0};
  // Sparse mode decodes otherwise than it reads prompts: the answer's tokens have other keys than a prompt's. Where
  // bits count, any mode does.
  const bool decodes_otherwise = as_alone || (plan && plan->name == "sparse");
  return {&sequence, plan, as_alone, decodes_otherwise ? std::min(n_prompt, sequence.n_tokens()) : sequence.n_tokens()};
}

std::unique_ptr<Sequence> Memory::take(std::span<const int32_t> prompt, const std::shared_ptr<const Plan>& plan,
                                       const std::shared_ptr<const Adapter>& adapter, bool as_alone, bool reuses,
                                       std::span<const Text> others) {
  // The last token is always computed: its logits begin the answer.
  const std::span<const int32_t> reusable = prompt.first(prompt.empty() || !reuses ? 0 : prompt.size() - 1);
  const auto n_shared = [&](const Sequence& sequence, size_t n_tokens) {
    return sequence.cache().back_to(sequence.id(), std::min(n_tokens, common_prefix(reusable, sequence.ids())));
  };
  auto best = kept_.end();
  const Sequence* source = nullptr;
  size_t n_best = 0;
  for (auto it = kept_.begin(); it != kept_.end(); ++it) {
    if (it->plan != plan || it->sequence->adapter() != adapter || it->as_alone != as_alone) continue;
    const size_t n = n_shared(*it->sequence, it->sequence->n_tokens());
    if (n == 0 || n < n_best) continue;
    n_best = n;
    best = it;
    source = it->sequence.get();
  }
  for (const Text& text : others) {
    if (text.plan != plan.get() || text.sequence->adapter() != adapter || text.as_alone != as_alone) continue;
    const size_t n = n_shared(*text.sequence, text.n_tokens);
    if (n <= n_best) continue;
    n_best = n;
    best = kept_.end();
    source = text.sequence;
  }
  if (auto sequence = from_disk(reusable, plan, adapter, as_alone, n_best)) return sequence;
  const bool is_recurrent = batch_.cache()->is_recurrent();
  if (source && best != kept_.end()) {
    // A conversation goes on. States are large: one is rather lost than copied.
    const size_t n_kept = source->n_tokens();
    if (n_best + 1 >= n_kept || (is_recurrent && 2 * n_best >= n_kept)) {
      std::unique_ptr<Sequence> sequence = std::move(best->sequence);
      kept_.erase(best);
      sequence->go_back(n_best);
      return sequence;
    }
    kept_.splice(kept_.end(), kept_, best);
  }
  if (source && (!is_recurrent || n_best >= kLeastForked)) try {
      return source->fork(n_best);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kLimit) throw;  // no room: then it is computed when there is some
    }
  return batch_.new_sequence({.plan = plan, .adapter = adapter, .n_ctx = n_ctx_});
}

void Memory::keep(std::unique_ptr<Sequence> sequence, std::shared_ptr<const Plan> plan, bool as_alone,
                  size_t n_prompt) {
  const size_t n = text_of(*sequence, plan.get(), as_alone, n_prompt).n_tokens;
  if (n == 0 || sequence->go_back(n) == 0) return;
  // What it goes on from is in it.
  std::erase_if(kept_, [&](const Kept& kept) {
    const std::span<const int32_t> ids = kept.sequence->ids();
    return kept.plan == plan && kept.sequence->adapter() == sequence->adapter() && kept.as_alone == as_alone &&
           common_prefix(ids, sequence->ids()) == ids.size();
  });
  if (kept_.size() >= (batch_.cache()->is_recurrent() ? kMostRecurrent : kMostKept)) forget_one();
  kept_.push_back({std::move(sequence), std::move(plan), as_alone});
}

size_t Memory::n_pages() const {
  const size_t page = batch_.cache()->shape().page_tokens;
  size_t n = 0;
  for (const Kept& kept : kept_) n += (kept.sequence->n_tokens() + page - 1) / page;
  return n;
}

bool Memory::forget_one() {
  if (kept_.empty()) return false;
  save(kept_.front(), false);
  kept_.pop_front();
  return true;
}

bool Memory::save(const Kept& kept, bool waits) {
  const Sequence& s = *kept.sequence;
  return disk_ && is_lasting(kept.plan.get(), kept.as_alone, s.adapter().get()) &&
         disk_->save(s.cache(), s.id(), s.ids(), kept.plan->name, waits);
}

void Memory::save_all() {
  for (const Kept& kept : kept_) save(kept, true);
}

// The text of a file that begins like this for longer than what is here, where the cache has room for it.
std::unique_ptr<Sequence> Memory::from_disk(std::span<const int32_t> reusable, const std::shared_ptr<const Plan>& plan,
                                            const std::shared_ptr<const Adapter>& adapter, bool as_alone,
                                            size_t n_here) {
  if (!disk_ || !is_lasting(plan.get(), as_alone, adapter.get())) return nullptr;
  const DiskMemory::Found found = disk_->find(reusable, plan->name);
  if (found.n_alike < n_here + DiskMemory::kLeastTokens) return nullptr;
  const std::optional<DiskMemory::Text> text = disk_->load(found.name);
  if (!text || text->ids.size() > n_ctx_) return nullptr;
  while (batch_.n_free_tokens() < text->ids.size() && forget_one()) {
  }
  auto sequence = batch_.new_sequence({.plan = plan, .adapter = adapter, .n_ctx = n_ctx_});
  try {
    sequence->restore(text->ids, text->keys);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kLimit) throw;
    return nullptr;
  }
  sequence->go_back(std::min(found.n_alike, text->ids.size()));
  return sequence;
}

}  // namespace hunch::serve
