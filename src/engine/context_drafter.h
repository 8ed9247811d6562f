// Drafts by a model: a small one beside the target (Leviathan et al. 2023, arXiv:2211.17192), or the target
// itself, computed in a cheaper way on the same weights and the same KV cache (self-speculation).
#pragma once
#include <optional>

#include "engine/draft.h"
#include "engine/generate.h"

namespace hunch {

// Refuses a draft model whose tokens mean something else than the target's: Error{kUsage} names the first
// id that differs. Rows beyond a vocabulary that only pad an embedding may differ in number.
void require_same_vocabulary(const Engine& target, const Engine& draft);

class ContextDrafter : public Drafter {
 public:
  // `context` belongs to the drafter's own model, or shares the target's sequence; it must outlive the
  // drafter. Tokens from `n_vocab` on are never drafted: those that the target has not.
  ContextDrafter(const char* name, Context& context, size_t n_vocab);

  const char* name() const override { return name_; }
  double prior(uint8_t evidence) const override { return (double(evidence) + 0.5) / 10; }
  void begin(const SamplerOptions& options) override;
  void read(std::span<const int32_t> text) override;
  // Evidence is the probability of the drafter's best token, in tenths.
  void draft(std::span<const int32_t> text, size_t n_history, size_t n_max, const Pace& pace, Draft& draft) override;
  uint64_t n_bytes() const override { return context_.stats().weight_bytes + context_.stats().kv_bytes; }

 private:
  bool knows(std::span<const int32_t> ids) const;

  const char* name_;
  Context& context_;
  size_t n_vocab_;
  std::optional<Sampler> sampler_;
  std::vector<int32_t> text_;
};

}  // namespace hunch
