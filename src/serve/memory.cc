#include "serve/memory.h"

#include <algorithm>

#include "base/common_prefix.h"
#include "base/error.h"

namespace hunch::serve {
namespace {

constexpr size_t kMostKept = 256;
constexpr size_t kMostRecurrent = 8;  // of models whose states take the same room however short the text is
constexpr size_t kLeastForked = 64;   // tokens that are worth a copy of such states

// What depends on a sidecar or an adapter, or has the bits of this machine, is not for another day; nor are keys that
// were made of a part of the past, which nobody could tell from the model's own.
bool is_lasting(const Plan* plan, bool as_alone, const Adapter* adapter) {
  return plan && (plan->name == "dense" || plan->name == "exact") && !plan->keys && !plan->prompts && !as_alone &&
         !adapter;
}

}  // namespace

bool Memory::may_go_on(const Sequence& sequence) {
  return sequence.chunk_tokens() == 0 && !sequence.plan().drops_keys() && !sequence.learns_from_prompts();
}

Memory::Text Memory::text_of(const Sequence& sequence, const Plan* plan, bool as_alone, size_t n_prompt) {
  if (!may_go_on(sequence)) return {&sequence, plan, as_alone, 0};
  // Sparse mode decodes otherwise than it reads prompts: the answer's tokens have other keys than a prompt's. Where
  // bits count, any mode does.
  const bool decodes_otherwise = as_alone || (plan && plan->name == "sparse");
  return {&sequence, plan, as_alone, decodes_otherwise ? std::min(n_prompt, sequence.n_tokens()) : sequence.n_tokens()};
}

namespace {

// The last token is always computed: its logits begin the answer.
std::span<const int32_t> reusable_of(std::span<const int32_t> prompt) {
  return prompt.first(prompt.empty() ? 0 : prompt.size() - 1);
}

}  // namespace

Memory::Best Memory::best_here(std::span<const int32_t> reusable, const std::shared_ptr<const Plan>& plan,
                               const std::shared_ptr<const Adapter>& adapter, bool as_alone,
                               std::span<const Text> others) {
  const auto n_shared = [&](const Sequence& sequence, size_t n_tokens) {
    return sequence.cache().back_to(sequence.id(), std::min(n_tokens, common_prefix(reusable, sequence.ids())));
  };
  Best best{nullptr, kept_.end()};
  for (auto it = kept_.begin(); it != kept_.end(); ++it) {
    if (it->plan != plan || it->sequence->adapter() != adapter || it->as_alone != as_alone) continue;
    const size_t n = n_shared(*it->sequence, it->sequence->n_tokens());
    if (n > 0 && n >= best.n) best = {it->sequence.get(), it, n};
  }
  for (const Text& text : others) {
    if (text.plan != plan.get() || text.sequence->adapter() != adapter || text.as_alone != as_alone) continue;
    const size_t n = n_shared(*text.sequence, text.n_tokens);
    if (n > best.n) best = {text.sequence, kept_.end(), n};
  }
  return best;
}

Memory::OnDisk Memory::fetch(std::span<const int32_t> prompt, const std::shared_ptr<const Plan>& plan,
                             const std::shared_ptr<const Adapter>& adapter, bool as_alone,
                             std::span<const Text> others) {
  if (!disk_) return {};
  const std::span<const int32_t> reusable = reusable_of(prompt);
  std::string name = on_disk(reusable, plan, adapter, as_alone, best_here(reusable, plan, adapter, as_alone, others).n);
  const bool is_fetched = !name.empty() && disk_->fetch(name);
  return {std::move(name), is_fetched};
}

std::unique_ptr<Sequence> Memory::take(std::span<const int32_t> prompt, const std::shared_ptr<const Plan>& plan,
                                       const std::shared_ptr<const Adapter>& adapter, bool as_alone, bool reuses,
                                       std::span<const Text> others) {
  const std::span<const int32_t> reusable = reuses ? reusable_of(prompt) : prompt.first(0);
  const auto [source, best, n_best] = best_here(reusable, plan, adapter, as_alone, others);
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
  while (adapter && batch_.n_free_tokens() < adapter->virtual_tokens.n && forget_one()) {
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

std::string Memory::on_disk(std::span<const int32_t> reusable, const std::shared_ptr<const Plan>& plan,
                            const std::shared_ptr<const Adapter>& adapter, bool as_alone, size_t n_here) const {
  if (!disk_ || !is_lasting(plan.get(), as_alone, adapter.get())) return "";
  DiskMemory::Found found = disk_->find(reusable, plan->name);
  return found.n_alike < n_here + DiskMemory::kLeastTokens ? "" : std::move(found.name);
}

// The text of a file that begins like this for longer than what is here, where it was fetched and the cache has room
// for it.
std::unique_ptr<Sequence> Memory::from_disk(std::span<const int32_t> reusable, const std::shared_ptr<const Plan>& plan,
                                            const std::shared_ptr<const Adapter>& adapter, bool as_alone,
                                            size_t n_here) {
  const std::string name = on_disk(reusable, plan, adapter, as_alone, n_here);
  if (name.empty()) return nullptr;
  const std::optional<DiskMemory::Text> text = disk_->take(name);
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
  sequence->go_back(std::min(common_prefix(reusable, text->ids), sequence->n_tokens()));
  return sequence;
}

}  // namespace hunch::serve
