// Attention sinks and a window: the first tokens and the most recent ones stay.
#pragma once
#include "select/key_policy.h"

namespace hunch {

// Keeps the n_sink oldest slots and the most recent budget - n_sink. Needs no evidence.
//
// Positions are slots: what counts is how many slots lie between a query and a key. Where positions are relative (RoPE,
// ALiBi) it is enough to move the sinks along with the window (KeyState::n_sinks), whose own distances stay. A model
// with positions of its own (OPT) is not helped by this policy beyond its context.
// Source: Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks" (arXiv:2309.17453), section 3.2.
// The published code has two forms, both this one: its __call__ keeps the window after a step (budget = sinks +
// window), its evict_for_space(n_coming) makes room before one (budget = sinks + window - n_coming).
class StreamingLlm final : public ClonedPolicy<StreamingLlm> {
 public:
  explicit StreamingLlm(size_t n_sink = 4) : n_sink_(n_sink) {}

  bool learns() const override { return false; }
  void observe(std::span<const float>) override {}
  void keep(size_t n_slots, size_t budget, std::vector<uint32_t>& kept) const override;
  void compact(std::span<const uint32_t>) override {}
  void forget_last(size_t) override {}

 private:
  size_t n_sink_;
};

}  // namespace hunch
