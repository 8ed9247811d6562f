// What selectors share that read single keys of the cache, listed anew for every query, and drop nothing.
#pragma once
#include <vector>

#include "select/key_selector.h"

namespace hunch {

// Of the forms of attention (select/attention_forms.h).
struct FormOptions {
  size_t n_full = 0;       // first layers that are left as they are
  bool of_prompts = true;  // prompts are read so too
};

// In layers with a window, too, everything is as the model has it.
class ListedState : public KeyState {
 public:
  explicit ListedState(size_t n_full) : n_full_(n_full) {}

  void keep(const KeyPlace& place, std::span<Rows> out) override {
    for (size_t head = 0; head < out.size(); ++head) out[head].refill_all(place.view.n_slots(head));
  }
  PageReads attend(Compute& compute, const KeyPlace& place, const AttentionSpan& query, MatView<const float> Q,
                   size_t n_head, const AttentionParams& params, MatView<float> out) override;

 protected:
  // The slots that a query reads of a KV head, ascending, its own among them; of slots 0 to query.first_pos. Called for
  // the heads that are computed, in their order.
  //
  //   q  [n_group, d_head] the query heads that share it
  virtual void choose(Compute& compute, const KeyPlace& place, const AttentionSpan& query, size_t kv_head,
                      MatView<const float> q, std::vector<uint32_t>& slots) = 0;

 private:
  size_t n_full_;
  std::vector<Rows> lists_;  // [n_kv_head]
};

// A selector whose states are ListedStates.
class ListedKeys : public KeySelector {
 public:
  explicit ListedKeys(const FormOptions& form) : form_(form) {}
  bool attends() const override { return true; }
  bool attends_prompts() const override { return form_.of_prompts; }
  size_t most_slots() const override { return SIZE_MAX; }
  bool heads_apart() const override { return true; }
  const FormOptions& form() const { return form_; }

 private:
  FormOptions form_;
};

}  // namespace hunch
